"""Rows d and g: thousands of predictions in one generator, more generators, and a million jobs that wait."""

import asyncio
import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable

from bench.load import Load, loaded
from bench.measure import DRAIN_SECONDS, apart, cost, drained, one_by_one, per_job, posting
from bench.meter import between, resident
from bench.records import Sample
from bench.run import Run
from bench.starts import PROMPT
from bench.subjects import BODY, CREATE_PATH, STATUS_PATH, Workers
from bench.wire import SENT, Asking, Request, requests
from chassis.channel import channel
from chassis.settings import HostPort
from generator.jobs_client import JobsClient
from mediagen.jobs.v1.worker_pb2_grpc import WorkerServiceStub

HELD_SECONDS = 10.0
"""How long a prediction of row d takes, give or take three tenths: the simulator draws it."""

IN_PROCESS, OVER_HTTP = "predictions of 10 s, provider in its process", "predictions of 10 s, over HTTP"
POLLED = f"{OVER_HTTP}, polled"

FILLING = 1.2
"""Posted for as long as a prediction takes, as a share of the rate that keeps as many in flight."""

WORDS = json.dumps({"prompt": f"{PROMPT}{SENT}", "model": "meta/meta-llama-3-8b-instruct"})
"""A job without a picture: the simulator would draw for longer than the generators work."""

SCALED = Workers(slots=100, predict_seconds=1.0)
"""Each generator can complete a hundred jobs a second, whatever the machine does."""

FEW_WAITING = 3000
CLAIM = 100
CLAIMS = 20
CALLS = 200


async def row_d(run: Run) -> None:
    """As many predictions as one generator is to hold: its memory, its CPU, how late each end is. Once with a provider in its own
    process, and over HTTP, where the simulator wants its share of the machine: with webhooks, and polled."""
    ours, count = run.rig.ours, run.settings.in_flight

    async def measure(_: object, workers: Workers) -> Sample:
        await ours.clean()
        await ours.working(None)
        await ours.working(workers)
        [generator] = [pid for name in ours.stack.parts if name.startswith("generator-") and (pid := ours.stack.pid(name))]
        metrics = Asking(ours.stack.port("GENERATOR_1_METRICS_PORT"))
        idle, before, began = resident(generator), run.rig.meter.read(), time.perf_counter()
        rate = FILLING * count / HELD_SECONDS
        load = Load(ours.port, [CREATE_PATH], "POST", ours.keys[:1], WORDS, 16, rate, HELD_SECONDS, warm_up=0.0)
        posted = asyncio.create_task(_posted(load))
        in_flight, peak = 0.0, idle
        async with asyncio.timeout(HELD_SECONDS + DRAIN_SECONDS):
            while not posted.done() or not await ours.drained():
                _, body = await metrics(Request(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", None))
                if found := re.search(rb"^mediagen_generator_predictions_in_flight (\S+)", body, re.MULTILINE):
                    in_flight, peak = max(in_flight, float(found[1])), max(peak, resident(generator))
                await asyncio.sleep(0.25)
        jobs = await posted
        seconds, usage = time.perf_counter() - began, between(before, run.rig.meter.read())
        metrics.close()
        late = await ours.connection.fetchrow(
            "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY late) AS p50, "
            "percentile_cont(0.99) WITHIN GROUP (ORDER BY late) AS p99 "
            "FROM (SELECT extract(epoch FROM s.finished_at - s.created_at) - s.predict_seconds AS late FROM submissions s "
            "WHERE s.predict_seconds IS NOT NULL AND s.state = 'succeeded') ended"
        )
        counts = {"KiB each": (peak - idle) * 1024 / max(1.0, in_flight), "MiB": peak, "jobs/s": jobs / seconds}
        if workers.full_path:
            counts |= apart(usage, jobs)
        latency = {name: float(late[name]) * 1000 for name in ("p50", "p99")}
        return Sample(in_flight, latency, cost(ours, usage, jobs), usage.foreign, counts=counts)

    for what, full_path, webhooks in ((IN_PROCESS, False, False), (OVER_HTTP, True, True), (POLLED, True, False)):
        workers = Workers(1, count, HELD_SECONDS, full_path, webhooks)
        await run.by_turns("d", what, "in flight", [ours], lambda _, workers=workers: measure(_, workers))
    await ours.working(None)


async def _posted(load: Load) -> float:
    posted = 0.0
    async for event, _ in loaded(load):
        if event["event"] == "seen":
            posted = float(sum(event["statuses"].values()))
    return posted


async def row_g(run: Run) -> None:
    """Completed jobs a second with one, two and four generators; then claims, lists, accepts and reads before a long queue."""
    ours = run.rig.ours
    for count in (1, 2, 4):
        workers = Workers(count, SCALED.slots, SCALED.predict_seconds)

        async def measure(_: object, workers: Workers = workers) -> Sample:
            return await _steady(run, workers)

        await run.by_turns("g", f"generators: {count}", "jobs/s", [ours], measure)
    await ours.working(None)
    await ours.clean()
    there = 0
    for waiting in sorted({FEW_WAITING, run.settings.waiting}):
        run.say(f"row g: {waiting:,} jobs wait")
        await ours.fill("queued", max(0, waiting - there))
        await ours.connection.execute("VACUUM (ANALYZE) jobs", timeout=600)
        there = waiting
        await _before_a_queue(run, waiting)
    await ours.clean()


async def _steady(run: Run, workers: Workers) -> Sample:
    """What is completed while a little more is posted than can be."""
    ours = run.rig.ours
    await ours.clean()
    await ours.working(workers)
    capacity = workers.count * workers.slots / workers.predict_seconds
    load = posting(run, ours, clients=64, rate=1.3 * capacity, warm_up=4 * workers.predict_seconds)
    counted, readings = [], []
    client = 0.0
    async for event, generator in loaded(load):
        if event["event"] == "seen":
            client = event["client"]
        else:
            counted.append((time.perf_counter(), await ours.counters()))
            readings.append(run.rig.meter.read(generator))
    await drained(ours)
    (began, before), (ended, after) = counted
    usage, finished = between(*readings), after["finished"] - before.get("finished", 0.0)
    counts = per_job(before, after, "finished")
    return Sample(finished / (ended - began), {}, cost(ours, usage, finished), usage.foreign, client, counts)


async def _before_a_queue(run: Run, waiting: int) -> None:
    ours = run.rig.ours
    asking = Asking(ours.port)
    [create] = requests("POST", [CREATE_PATH], ours.keys[:1], BODY)
    [page] = requests("GET", ["/api/v1/jobs?page_size=50"], ours.keys[:1], "")
    reads = requests("GET", [STATUS_PATH + job_id for job_id in await ours.finished_ids(CALLS)], ours.keys[:1], "")
    next_read = iter(reads * (2 * run.settings.rounds))
    worker = HostPort("127.0.0.1", ours.stack.port("JOBS_WORKER_PORT"))
    async with channel(worker) as connection:
        claims = JobsClient(WorkerServiceStub(connection), ours.stack.worker_token, str(uuid.uuid4()))

        async def claim() -> None:
            intents = [str(uuid.uuid4()) for _ in range(CLAIM)]
            granted = await claims.claim([], CLAIM, intents, no_creates=False, timeout=30)
            assert len(granted) >= CLAIM - 1  # the relay may be looking at the first one

        async def ask(request: Request) -> None:
            status, body = await asking(request)
            assert 200 <= status < 300, body

        calls: dict[str, tuple[int, Callable[[], Awaitable[None]]]] = {
            f"claim of {CLAIM}": (CLAIMS, claim),
            "list of 50": (CALLS, lambda: ask(page)),
            "accept": (CALLS, lambda: ask(create)),
            "read": (CALLS, lambda: ask(next(next_read))),
        }
        for number in range(run.settings.rounds):
            if number:
                await ours.fill("queued", (CLAIMS + 1) * CLAIM)  # in place of those that the round before has claimed
            for name, (count, call) in calls.items():
                await one_by_one(max(5, count // 10) if number == 0 else 1, call)  # until its statements are planned everywhere
                before = run.rig.meter.read()
                latency = await one_by_one(count, call)
                foreign = between(before, run.rig.meter.read()).foreign
                sample = Sample(latency["p50"], latency, foreign=foreign)
                run.book.add("g", f"{name}, {waiting:,} waiting", ours.name, "ms", sample)
    asking.close()
