"""Row l: an hour at 60 % of its own rate, while what has ended ten minutes ago is deleted. What grows is seen, and what stalls.

Each interval is a round of the line of its quarter of the run. By the second quarter jobs are deleted as fast as they come, and
from then on nothing may grow: memory, dead rows, the tables, and what a job costs in WAL and CPU.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.load import loaded, percentiles
from bench.measure import ONE_KEY, completed, cost, drained, posting, service_of, warm
from bench.meter import Reading, between, proportional
from bench.ours import Ours
from bench.records import Sample
from bench.run import Run
from bench.starts import starts_after
from bench.subjects import Subject, Workers

SHARE = 0.6
"""Of the rate at which it completes jobs in a flood."""

RETENTION_SHARE = 1 / 6
"""Of the run: how long a job is kept, so that the second quarter sees deletions from its first moment."""

SAMPLES = 60
LEAST_SECONDS = 10.0
"""So many intervals a run has, unless they would be shorter than this."""

TAIL_SECONDS = 2.0
"""How much longer than the last interval jobs are posted: a load generator that has ended has no CPU to be read."""

FLOOD, ACCEPTS = "its own rate: 64 clients, one key", "accepts, all the time"
FIRST, SECOND, THIRD, LAST = QUARTERS = tuple(f"{name} quarter, at 60 %" for name in ("first", "second", "third", "last"))

TABLES = ("jobs", "submissions", "job_events")
"""Those that grow with each job."""

HELD = "MiB held by "
"""How the name of a service's memory begins."""

_COLUMNS = {"live": "live rows", "dead": "dead rows", "mib": "MiB"}

_TABLES = """
    SELECT coalesce(pg_partition_root(relid), relid)::regclass::text AS name, sum(n_live_tup)::float8 AS live,
        sum(n_dead_tup)::float8 AS dead, sum(pg_total_relation_size(relid))::float8 / 1048576 AS mib
    FROM pg_stat_user_tables GROUP BY 1
"""

_QUEUE = """
    SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 AS wal,
        (SELECT count(*) FROM jobs WHERE state = 'queued') AS waiting,
        (SELECT count(*) FROM jobs WHERE status = 'failed' AND tenant_id IN (SELECT id FROM tenants)) AS failed
"""


@dataclass(frozen=True)
class Moment:
    """What was read at one moment."""

    clocks: Reading
    counted: Mapping[str, float]
    """What the jobs service counts of itself."""
    wal: float
    """Bytes of WAL that were ever written."""
    levels: Mapping[str, float]
    """What has a height: jobs that wait, rows and MiB of tables, MiB of each service."""


async def row_l(run: Run) -> None:
    """Finds its own rate, unless row b has, and offers 60 % of it for MINUTES."""
    ours = run.rig.ours
    capacity = run.book.line("b", ONE_KEY, ours.name)
    if capacity is None:
        await run.by_turns("l", FLOOD, "jobs/s", [ours], lambda subject: completed(run, subject, Workers()))
        capacity = run.book.line("l", FLOOD, ours.name)
    if capacity is None:
        return  # it has failed, and was told of
    rate, seconds = SHARE * capacity.median(), 60 * run.settings.minutes
    count, every = intervals(seconds)
    try:
        await ours.keeping(RETENTION_SHARE * seconds)
        await warm(run, ours, Workers(), rate=rate)
        run.say(f"row l: {rate:.0f} jobs/s for {seconds / 60:g} min, each kept for {RETENTION_SHARE * seconds:.0f} s")
        await _last(run, rate, count, every)
    finally:
        await ours.keeping(None)
        await ours.clean()


def intervals(seconds: float) -> tuple[int, float]:
    """Into how many intervals such a run is cut, and of how many seconds."""
    count = max(1, min(SAMPLES, int(seconds / LEAST_SECONDS)))
    return count, seconds / count


async def _last(run: Run, rate: float, count: int, every: float) -> None:
    ours = run.rig.ours
    seen: dict[str, Any] = {}
    async with asyncio.TaskGroup() as group:  # where sampling fails, the load ends
        async for event, generator in loaded(posting(run, ours, 64, rate=rate, seconds=count * every + TAIL_SECONDS)):
            if event["event"] == "begin":
                group.create_task(_watch(run, generator, count, every))
            seen = event
    await drained(ours)
    latency = {**seen["latency"], "late_p99": seen["late_p99"]}
    run.book.add("l", ACCEPTS, ours.name, "jobs/s", Sample(seen["answers"] / seen["seconds"], latency, client=seen["client"]))


async def _watch(run: Run, generator: int, count: int, every: float) -> None:
    """Notes each interval under its quarter."""
    ours = run.rig.ours
    _, position = starts_after(ours.starts, 0)
    before = await _read(run, generator)
    due = asyncio.get_running_loop().time()
    for number in range(count):
        due += every
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        after = await _read(run, generator)
        waits, position = starts_after(ours.starts, position)
        sample = interval(ours, before, after, waits)
        run.book.add("l", QUARTERS[4 * number // count], ours.name, "jobs/s", sample)
        run.say(f"row l, {number + 1} of {count}: {_told(sample)}")
        before = after


async def _read(run: Run, generator: int) -> Moment:
    ours: Ours = run.rig.ours
    clocks, counted = run.rig.meter.read(generator), await ours.counters()
    queue = await ours.connection.fetchrow(_QUEUE)
    assert not queue["failed"], f"{queue['failed']} jobs have failed"
    tables = {row["name"]: row for row in await ours.connection.fetch(_TABLES)}
    memory: dict[str, float] = {}
    for process, pid in run.rig.processes().items():
        if ours.owns(process):
            name = HELD + service_of(ours, process)
            memory[name] = memory.get(name, 0.0) + proportional(pid)
    levels = {
        "waiting": float(queue["waiting"]),
        "dead rows": sum(row["dead"] for row in tables.values()),
        "MiB of tables": sum(row["mib"] for row in tables.values()),
        **{f"{name}: {what}": tables[name][column] for name in TABLES for column, what in _COLUMNS.items()},
    }
    return Moment(clocks, counted, queue["wal"], levels | memory)


def interval(subject: Subject, before: Moment, after: Moment, waits: Sequence[float]) -> Sample:
    """One interval: jobs completed a second, `waits` (seconds until each was begun) by percentile, and what a job has cost."""
    usage = between(before.clocks, after.clocks)
    finished, deleted = (after.counted.get(name, 0.0) - before.counted.get(name, 0.0) for name in ("finished", "deleted"))
    counts = {
        "longest ms": 1000 * max(waits, default=0.0),
        "deleted": deleted,
        "WAL KiB": (after.wal - before.wal) / 1024 / max(1.0, finished),
        **after.levels,
    }
    return Sample(finished / usage.seconds, percentiles(waits), cost(subject, usage, finished), usage.foreign, counts=counts)


def _told(sample: Sample) -> str:
    p50, p99 = (sample.latency.get(name, 0.0) for name in ("p50", "p99"))
    counts = sample.counts
    held = ", ".join(f"{name.removeprefix(HELD)} {mib:.0f}" for name, mib in counts.items() if name.startswith(HELD))
    return (
        f"{sample.value:.0f} jobs/s, ms to start {p50:.0f} / {p99:.0f}, at most {counts['longest ms']:.0f}; "
        f"{counts['waiting']:.0f} wait; CPU {sum(sample.cpu.values()):.2f} s for 1,000, WAL {counts['WAL KiB']:.1f} KiB for one; "
        f"{counts['deleted']:,.0f} deleted, {counts['dead rows']:,.0f} rows dead, tables {counts['MiB of tables']:,.0f} MiB; "
        f"MiB held: {held}"
    )
