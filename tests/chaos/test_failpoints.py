"""Every process dies, freezes and fails at every failpoint, on whole systems with several generators; no job is lost or paid twice.

CI makes one pass with the protocol's times scaled down. `make failpoints ROUNDS=20 ONLY=create` repeats it with the real times (or
SCALE=0.1), at the failpoints whose names contain ONLY, in every way of coming by them.
"""

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest
import pytest_asyncio

from chaos.failpoints import FAILPOINTS, Fault
from chaos.lane import Lane
from chaos.runs import Action, Run, perform
from choices import chosen
from history.checker import check
from history.collect import collect
from servers import Servers
from signing import SECRET
from stack import Stack

pytestmark = pytest.mark.alone

BY_HAND = "FAILPOINTS_EVERY_WAY" in os.environ
SCALE = chosen("FAILPOINTS_SCALE", 1.0 if BY_HAND else 0.1, float)
"""What all times of the protocol are multiplied by."""
ROUNDS = chosen("FAILPOINTS_ROUNDS", 1, int)
ONLY = os.environ.get("FAILPOINTS_ONLY", "")
"""A part of the names of the failpoints that are struck."""
if not any(ONLY in point.name for point in FAILPOINTS):
    raise pytest.Collector.CollectError(f"ONLY={ONLY} is in no failpoint's name; they are in tests/chaos/failpoints.py")
LANES = 3
"""Systems whose gateway and jobs are struck, one run at a time in each."""
GENERATOR_LANES = 2
"""Systems whose generators are struck."""
ARMED = 2
"""Generators of each of those that are struck at the same time, at different failpoints, beside two that are not."""

SETTINGS = {
    "JOBS_TIME_SCALE": str(SCALE),
    "JOBS_CREATES_PER_MINUTE": "0",
    "JOBS_READS_PER_MINUTE": "0",
    "SIMULATOR_CREATES_PER_MINUTE": "0",
    "SIMULATOR_READS_PER_MINUTE": "0",
    "SIMULATOR_PREDICT_SECONDS": str(5 * SCALE),
    "GATEWAY_REPLICATE_WEBHOOK_SECRET": SECRET,
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lanes(servers: Servers) -> AsyncIterator[list[Lane]]:
    """Whole systems with two generators each; the first ones are for failpoints of generators."""
    started: list[Lane] = []
    async with AsyncExitStack() as exits:
        for number in range(GENERATOR_LANES + LANES):
            database_url = exits.enter_context(servers.database(servers.template))
            amqp_url = exits.enter_context(servers.vhost())
            state = servers.state / f"stack-lane-{number}"
            stack = Stack(state, servers, database_url, amqp_url, servers.bucket(), SETTINGS)
            exits.callback(stack.stop)
            stack.start(generators=2)
            database = await exits.enter_async_context(asyncpg.create_pool(database_url, min_size=0, max_size=2))
            lane = Lane(stack, database, SCALE)
            exits.push_async_callback(lane.aclose)
            started.append(lane)
        watches = [asyncio.create_task(lane.keep_running()) for lane in started]
        yield started
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)


def runs(action: Action) -> list[Run]:
    """What is to be done, in the order of a job's life."""
    return [
        Run(point, way, action)
        for _ in range(ROUNDS)
        for point in FAILPOINTS
        if ONLY in point.name
        for way in (point.ways if BY_HAND else point.ways[:1])
    ]


def faults(those: list[Run]) -> list[Fault]:
    """The simulator's rules for all of them, each once."""
    found: list[Fault] = []
    for run in those:
        found += [fault for fault in run.faults(SCALE) if fault not in found]
    return found


@pytest.mark.timeout(0)
@pytest.mark.parametrize("action", ["kill", "stop", "raise"])
async def test_no_job_is_lost_or_paid_twice_whatever_happens_at_a_failpoint(action: Action, lanes: list[Lane]) -> None:
    began = time.monotonic()
    generators = [run for run in runs(action) if run.point.part == "generator" and not run.way.frozen_at]
    # Two at once would freeze with each other's jobs in hand.
    frozen = [run for run in runs(action) if run.way.frozen_at]
    others = [run for run in runs(action) if run.point.part != "generator"]
    done: list[Run] = []

    async def work(lane: Lane, waiting: list[Run], spare: str | None) -> None:
        while waiting:
            run = waiting.pop(0)
            await perform(run, lane, spare or run.point.part)
            done.append(run)
            mark = "✗" if run.problems else "✓"
            times = f"reached after {run.reached_after:.1f} s, over {run.over_after:.1f} s later"
            print(f"{mark} {run}: {times}, {len(run.jobs)} jobs; {len(generators) + len(frozen) + len(others)} left", flush=True)
            for problem in run.problems:
                print(f"    {problem}", flush=True)
        if spare is not None:
            await lane.end(spare)

    workers = []
    for lane in lanes[:GENERATOR_LANES]:
        await lane.client.faults(*faults([*generators, *frozen]))
        workers += [work(lane, generators, lane.spare(number)) for number in range(ARMED)]
    for lane in lanes[GENERATOR_LANES:]:
        await lane.client.faults(*faults(others))
        workers.append(work(lane, others, None))
    await asyncio.gather(*workers)
    await work(lanes[0], frozen, lanes[0].spare(0))
    over = [run.over_after for run in done]
    print(
        f"{action}: {len(done)} runs at {len({run.point.name for run in done})} failpoints, times scaled by {SCALE:g}, "
        f"{sum(len(run.jobs) for run in done)} jobs; over after {statistics.median(over):.1f} s in the median "
        f"and {max(over):.1f} s at most; {sum(bool(run.problems) for run in done)} failed; {time.monotonic() - began:.0f} s in all"
    )
    assert not [f"{run}: " + "\n    ".join(run.problems) for run in done if run.problems]


async def test_the_histories_of_all_that_keep_every_invariant(lanes: list[Lane]) -> None:
    used = [lane for lane in lanes if lane.recorder.accepted]  # ONLY may leave some without a job
    assert used
    for lane in used:
        await lane.recorder.all_finished(seconds=60)
        violations = [one for one in check(await collect(lane.stack, lane.recorder)) if not set(one.jobs) & lane.beyond]
        assert not violations, "\n".join(map(str, violations))
