"""PostgreSQL restarts, dies or ends every connection: no job that was told of is lost, and writes return soon."""

import asyncio

import asyncpg
import pytest

from chaos.experiment import Experiment
from chaos.poster import Poster
from postgresql import PostgreSQL
from waiting import until

pytestmark = [pytest.mark.patient, pytest.mark.timeout(900)]

POOL_SIZE = 10
"""What JOBS_POOL_SIZE is, unless it is set."""

OURS = "datname = current_database() AND application_name = 'mediagen-jobs'"
END = "count(pg_terminate_backend(pid))"
ACCEPTING = f"{OURS} AND wait_event_type = 'Lock' AND query LIKE '%INTO idempotency_keys%'"
"""Who is about to accept jobs, and waits."""


async def test_after_a_restart_and_a_crash_jobs_are_accepted_again_soon_and_none_is_lost(start, postgresql: PostgreSQL):
    experiment: Experiment = start(generators=2)
    await experiment.completes("first", within=60)
    poster = Poster(experiment)
    for what, end in (("stopped", postgresql.stop), ("killed", postgresql.kill)):
        load = asyncio.create_task(experiment.post(20, f"while it is {what}"))
        before = len(experiment.recorder.accepted)
        await until(lambda: len(experiment.recorder.accepted) > before, 60, what="a job to be accepted")  # noqa: B023
        await asyncio.to_thread(end)
        await poster.is_refused()
        postgresql.start()
        await asyncio.to_thread(postgresql.wait)
        await poster.accepted_again(f"return of PostgreSQL, which was {what}")
        await load
    await experiment.all_is_well(seconds=150)


async def test_a_storm_that_ends_every_connection_under_load_loses_nothing_and_leaves_no_connection_behind(
    start, postgresql: PostgreSQL
):
    experiment: Experiment = start(generators=2)
    await experiment.completes("first", within=60)
    database = experiment.stack.services.database_url.rpartition("/")[2]

    async def ours(what: str, where: str = OURS) -> int:
        statement = f"SELECT {what} FROM pg_stat_activity WHERE {where}"
        return int(await asyncio.to_thread(postgresql.execute, statement, database))

    load = [asyncio.create_task(experiment.post(40, "in the storm"))]
    ended = 0
    for _ in range(20):
        ended += await ours(END)
        await experiment.recorder.look_once()
    assert ended > POOL_SIZE
    other = await asyncpg.connect(postgresql.url(database))
    for _ in range(3):
        async with other.transaction():
            await other.execute("LOCK TABLE jobs IN EXCLUSIVE MODE")
            load.append(asyncio.create_task(experiment.post(5, "in the middle of a statement")))
            await until(lambda: ours("count(*)", ACCEPTING), what="a statement to be under way")
            await ours(END)
    await other.close()
    await Poster(experiment).accepted_again("storm over PostgreSQL's connections")
    await asyncio.gather(*load)
    await experiment.all_is_well(seconds=150)
    assert await ours("count(*)") <= POOL_SIZE
