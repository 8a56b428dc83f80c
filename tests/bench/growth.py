"""Row k: what further gateways and a second jobs service bring, and what they cost.

On one machine all of them share its cores: rates grow only where cores are left, and the CPU of a thousand jobs or reads shows what
the split itself costs.
"""

from bench.accepting import accepts, reads
from bench.measure import completed
from bench.run import Run
from bench.subjects import Workers

FLEETS = ((1, 1), (2, 1), (4, 1), (2, 2))
"""How many gateways and jobs services there are; each jobs service has one generator."""

CLIENTS = 64


async def row_k(run: Run) -> None:
    """Accepts, reads and completed jobs a second of 64 clients with one key, by how many gateways and jobs services there are."""
    ours = run.rig.ours
    try:
        for gateways, jobs in FLEETS:
            await ours.grow(gateways, jobs)
            fleet = f"{gateways} gateway{'s' if gateways > 1 else ''}, {jobs} jobs"
            workers = Workers(count=jobs)
            await run.by_turns("k", f"{fleet}: accepts", "jobs/s", [ours], lambda _: accepts(run, ours, CLIENTS))
            await run.by_turns("k", f"{fleet}: reads", "reads/s", [ours], lambda _: reads(run, ours))
            await run.by_turns(
                "k", f"{fleet}: completed", "jobs/s", [ours], lambda _, workers=workers: completed(run, ours, workers)
            )
    finally:
        await ours.grow(1, 1)
