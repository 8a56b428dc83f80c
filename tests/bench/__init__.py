"""How fast mediagen is beside the machine's own limits and beside other designs, in one run on one machine.

    make bench ROWS=a,b SECONDS=5 ROUNDS=3 PEERS=1 REPORT=report.json

docs/performance.md says what each row means and how to read it.
"""
