"""The whole system under load and under random faults, for as long as one likes; then the history is checked.

    make chaos MINUTES=35 JOBS_PER_SECOND=3 REPORT=docs/chaos-report.md

It exits with 1 where a promise was broken, or recovery took longer than it may. SEED repeats the order of faults and their lengths.
"""
