"""The measurements that several rows are made of. Each returns one round."""

import asyncio
import re
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping

from bench.load import Load, loaded, percentiles
from bench.meter import Usage, between
from bench.records import Sample
from bench.run import WARM_UP_SECONDS, Run
from bench.starts import read_starts
from bench.subjects import BODY, CREATE_PATH, Subject, Workers

DRAIN_SECONDS = 120.0
"""How long what was posted in a round may take to be done; then the round has failed."""

POLL_SECONDS = 0.05

_NUMBER = re.compile(r"-\d+$")

ONE_KEY = "64 clients, one key"
QUIET, SEEDS_RATE, USUAL_RATE, OWN_RATE = "20 jobs/s", "80 % of the first design's rate", "225 jobs/s", "80 % of its own rate"


def posting(run: Run, subject: Subject, clients: int, keys: int = 1, **fields: float) -> Load:
    """A load of creates, with so many tenants' keys."""
    timed = {"seconds": run.settings.seconds, "warm_up": WARM_UP_SECONDS, **fields}
    ports = subject.further_ports
    return Load(subject.port, [CREATE_PATH], "POST", subject.keys[:keys], BODY, clients, further_ports=ports, **timed)


async def answered(run: Run, subject: Subject, load: Load) -> Sample:
    """Answers a second while the load lasts, and what they cost."""
    counted: list[Mapping[str, float]] = []
    readings = []
    seen = {}
    async for event, generator in loaded(load):
        match event["event"]:
            case "begin":
                counted.append(await subject.counters())
                readings.append(run.rig.meter.read(generator))
            case "end":
                readings.append(run.rig.meter.read(generator))
                counted.append(await subject.counters())
            case "seen":
                seen = event
    answers, usage = seen["answers"], between(*readings)
    return Sample(
        answers / seen["seconds"],
        {**seen["latency"], "late_p99": seen["late_p99"]},
        cost(subject, usage, answers),
        usage.foreign,
        seen["client"],
        per_job(counted[0], counted[1], "accepted" if load.method == "POST" else ""),
    )


async def completed(run: Run, subject: Subject, workers: Workers, keys: int = 1, rate: float = 0.0) -> Sample:
    """Jobs a second from the first post until the last is done: 64 clients post for a while, and what they left over is drained."""
    await warm(run, subject, workers, keys, rate)
    counted, began, seen = await subject.counters(), 0.0, {}
    before = run.rig.meter.read()
    async for event, generator in loaded(posting(run, subject, 64, keys, warm_up=0.0, rate=rate)):
        match event["event"]:
            case "begin":
                began, before = time.perf_counter(), run.rig.meter.read(generator)
            case "seen":
                seen = event
    await drained(subject)
    seconds, usage = time.perf_counter() - began, between(before, run.rig.meter.read())
    accepted, client = sum(seen["statuses"].values()), seen["client"]
    counts = per_job(counted, await subject.counters(), "finished")
    if workers.full_path:
        counts |= apart(usage, accepted)
    return Sample(accepted / seconds, {}, cost(subject, usage, accepted), usage.foreign, client, counts)


async def warm(run: Run, subject: Subject, workers: Workers, keys: int = 1, rate: float = 0.0) -> None:
    """Lets these workers run on a clean table, and a few jobs through them: from here on nothing starts and nothing is planned."""
    await subject.clean()
    await subject.working(workers)
    async for _ in loaded(posting(run, subject, 64, keys, seconds=WARM_UP_SECONDS, warm_up=0.0, rate=rate)):
        pass
    await drained(subject)


async def drained(subject: Subject) -> None:
    """Returns once every job has ended; raises TimeoutError after DRAIN_SECONDS."""
    async with asyncio.timeout(DRAIN_SECONDS):
        while not await subject.drained():
            await asyncio.sleep(POLL_SECONDS)


def low_rates(run: Run) -> list[tuple[str, float]]:
    """Jobs a second by name: in a quiet hour, and four fifths of what the first design completes, where row b has measured it."""
    seed = run.book.line("b", ONE_KEY, "first design")
    return [(QUIET, 20.0), (SEEDS_RATE, 0.8 * seed.median()) if seed else (USUAL_RATE, 225.0)]


async def begun(run: Run, subject: Subject, workers: Workers, rate: float) -> Sample:
    """Milliseconds from a job's sending until a worker begins it, at a rate; the rest is as of its acceptance."""
    await warm(run, subject, workers, rate=max(rate, 50.0))
    sample = await answered(run, subject, posting(run, subject, clients=64, rate=rate))
    await drained(subject)
    waits = read_starts(subject.starts)[-max(1, round(sample.value * run.settings.seconds)) :]
    starts = percentiles(waits)
    sample.counts = {**sample.counts, "accept_p50": sample.latency["p50"], "accept_p99": sample.latency["p99"]}
    sample.latency = {**starts, "late_p99": sample.latency["late_p99"]}
    sample.value = statistics.median(waits) * 1000
    return sample


def cost(subject: Subject, usage: Usage, jobs: float) -> dict[str, float]:
    """CPU seconds for a thousand jobs, by process; those of which there may be several, such as generators, together."""
    parts: dict[str, float] = {}
    for process, seconds in usage.cpu.items():
        if subject.owns(process):
            name = service_of(subject, process)
            parts[name] = parts.get(name, 0.0) + seconds * 1000 / max(1.0, jobs)
    return parts


def apart(usage: Usage, jobs: float) -> dict[str, float]:
    """CPU seconds of what stands in for Replicate, for a thousand jobs: nobody's cost, but it wants its share of the machine."""
    return {"simulator's CPU s": usage.cpu.get("simulator", 0.0) * 1000 / max(1.0, jobs)}


def service_of(subject: Subject, process: str) -> str:
    """What a process of the subject's is one of: `generator` for generator-2."""
    return _NUMBER.sub("", process.removeprefix(f"{subject.name} "))


def per_job(before: Mapping[str, float], after: Mapping[str, float], of: str) -> dict[str, float]:
    """What the subject counted of itself, for each job that was accepted or has finished, and the size of its batches."""
    grown = {name: count - before.get(name, 0.0) for name, count in after.items()}
    jobs = grown.get(of, 0.0)
    if jobs <= 0:
        return {}
    counts = {name: grown.get(name, 0.0) / jobs for name in ("statements", "messages", "rpcs", "accept_commits", "report_commits")}
    for batch, commits, items in (("accept_batch", "accept_commits", "accepted"), ("report_batch", "report_commits", "reports")):
        if grown.get(commits):
            counts[batch] = grown[items] / grown[commits]
    return counts


async def one_by_one(calls: int, ask: Callable[[], Awaitable[object]]) -> dict[str, float]:
    """Milliseconds of calls that follow each other, by percentile."""
    seconds = []
    for _ in range(calls):
        began = time.perf_counter()
        await ask()
        seconds.append(time.perf_counter() - began)
    return percentiles(seconds)
