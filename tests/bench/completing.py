"""Rows b, c, f and i: jobs from their acceptance to their end, with a provider that answers at once."""

import asyncio

import orjson

from bench.measure import ONE_KEY, OWN_RATE, begun, completed, low_rates, one_by_one, warm
from bench.meter import between
from bench.ours import TENANTS
from bench.records import Sample
from bench.run import Run
from bench.subjects import BODY, CREATE_PATH, STATUS_PATH, Subject, Workers
from bench.wire import Asking, requests

FULL_PATH = "simulator and S3"
"""The same with the simulator in Replicate's place, webhooks, pictures, and uploads to S3."""

FULL_PATH_RATE = 60.0
"""Jobs a second that are posted to it: more than the simulator can draw on a small machine, and few enough to be drained soon."""

LIGHT_JOBS_PER_SECOND = 20


async def row_b(run: Run) -> None:
    """Completed jobs a second, and what each costs: row i is the same measurement."""
    peers = [
        peer for peer in await run.beside("first_design", "celery_rabbitmq", "taskiq", "procrastinate") if "," not in peer.name
    ]

    async def measure(subject: Subject) -> Sample:
        sample = await completed(run, subject, Workers())
        await subject.working(None)
        return sample

    await run.by_turns("b", ONE_KEY, "jobs/s", [run.rig.ours, *peers], measure)
    ours: list[Subject] = [run.rig.ours]
    await run.by_turns(
        "b", f"64 clients, {TENANTS} tenants", "jobs/s", ours, lambda subject: completed(run, subject, Workers(), keys=TENANTS)
    )
    await run.by_turns(
        "b", FULL_PATH, "jobs/s", ours, lambda subject: completed(run, subject, Workers(full_path=True), rate=FULL_PATH_RATE)
    )
    await run.rig.ours.working(None)


async def row_c(run: Run) -> None:
    """Milliseconds from a job's sending until a worker begins it: in a quiet hour, and under load."""
    peers = await run.beside("first_design")
    subjects: list[Subject] = [run.rig.ours, *peers]
    rates = [(what, rate, subjects) for what, rate in low_rates(run)]
    if capacity := run.book.line("b", ONE_KEY, "mediagen"):
        rates.append((OWN_RATE, 0.8 * capacity.median(), [run.rig.ours]))
    for what, rate, measured in rates:

        async def measure(subject: Subject, rate: float = rate) -> Sample:
            return await begun(run, subject, Workers(), rate)

        await run.by_turns("c", what, "ms to start", measured, measure)


async def row_f(run: Run) -> None:
    """Milliseconds from a job's sending until its completion can be read, one job at a time: what mediagen adds to the provider."""
    peers = await run.beside("first_design")

    async def measure(subject: Subject) -> Sample:
        await warm(run, subject, Workers())
        jobs = max(20, round(run.settings.seconds * LIGHT_JOBS_PER_SECOND))
        asking = Asking(subject.port)
        await one_by_one(10, lambda: _follow(asking, subject))
        before = run.rig.meter.read()
        latency = await one_by_one(jobs, lambda: _follow(asking, subject))
        usage = between(before, run.rig.meter.read())
        asking.close()
        return Sample(latency["p50"], latency, {}, usage.foreign)

    await run.by_turns("f", "one job at a time", "ms to completed", [run.rig.ours, *peers], measure)


async def _follow(asking: Asking, subject: Subject) -> None:
    """Posts a job and reads it until it is completed."""
    [create] = requests("POST", [CREATE_PATH], subject.keys[:1], BODY)
    status, body = await asking(create)
    assert status == 202, body
    [read] = requests("GET", [STATUS_PATH + orjson.loads(body)["id"]], subject.keys[:1], "")
    while True:
        status, body = await asking(read)
        assert status == 200, body
        if orjson.loads(body)["status"] == "completed":
            return
        await asyncio.sleep(0.001)


async def row_i(run: Run) -> None:
    """CPU for a thousand completed jobs: row b has measured it, unless it was not asked for."""
    if run.book.line("b", ONE_KEY, "mediagen") is None:
        await row_b(run)
