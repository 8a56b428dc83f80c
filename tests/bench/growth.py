"""Row k: what further gateways and a second jobs service bring, and what they cost.

On one machine all of them share its cores: rates grow only where cores are left, and the CPU of a thousand jobs or reads shows what
the split itself costs.
"""

from collections.abc import Awaitable, Callable

from bench.accepting import DISTINCT_IDS
from bench.load import Load
from bench.measure import answered, completed, posting
from bench.ours import Ours
from bench.records import Sample
from bench.run import WARM_UP_SECONDS, Run
from bench.subjects import STATUS_PATH, Workers

FLEETS = ((1, 1), (2, 1), (4, 1), (2, 2))
"""How many gateways and jobs services there are; each jobs service has one generator."""

CLIENTS = 64


async def row_k(run: Run) -> None:
    """Accepts, reads and completed jobs a second of 64 clients with one key, by how many gateways and jobs services there are."""
    ours = run.rig.ours
    try:
        for gateways, jobs in FLEETS:
            await ours.grow(gateways, jobs)
            for what, unit, measure in _measurements(run, jobs):
                await run.by_turns("k", f"{_fleet(gateways, jobs)}: {what}", unit, [ours], measure)
    finally:
        await ours.grow(1, 1)


def _fleet(gateways: int, jobs: int) -> str:
    return f"{gateways} gateway{'s' if gateways > 1 else ''}, {jobs} jobs"


def _measurements(run: Run, jobs: int) -> list[tuple[str, str, Callable[[Ours], Awaitable[Sample]]]]:
    """What is measured, its unit, and how. Where there are two jobs services, nothing is counted for each job."""

    async def accepts(ours: Ours) -> Sample:
        await ours.working(None)
        await ours.clean()
        return await answered(run, ours, posting(run, ours, CLIENTS))

    async def reads(ours: Ours) -> Sample:
        await ours.working(None)
        await ours.clean()
        paths = [STATUS_PATH + job_id for job_id in await ours.finished_ids(DISTINCT_IDS)]
        load = Load(
            *(ours.port, paths),
            keys=ours.keys[:1],
            clients=CLIENTS,
            seconds=run.settings.seconds,
            warm_up=WARM_UP_SECONDS,
            further_ports=ours.further_ports,
        )
        return await answered(run, ours, load)

    async def completes(ours: Ours) -> Sample:
        return await completed(run, ours, Workers(count=jobs))

    return [("accepts", "jobs/s", accepts), ("reads", "reads/s", reads), ("completed", "jobs/s", completes)]
