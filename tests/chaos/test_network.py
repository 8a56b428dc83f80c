"""The network on each link of the whole system, slow, reset and silent: soon after its return no trace is left."""

import asyncio
import time
from collections.abc import Callable

import pytest

from chaos.experiment import RECOVERED_WITHIN, Experiment
from chaos.proxy import KEEPALIVE_SECONDS, Proxy, Way
from waiting import until

pytestmark = [pytest.mark.patient, pytest.mark.timeout(900)]

LINKS = (
    "gateway_jobs",
    "generator_jobs",
    "jobs_postgresql",
    "jobs_rabbitmq",
    "generator_rabbitmq",
    "generator_replicate",
    "generator_files",
    "generator_s3",
    "gateway_s3",
)

WAYS = {Way.BOTH: "both ways", Way.UP: "on the way there", Way.DOWN: "on the way back"}

OUTAGE_SECONDS = 4.0
"""Longer than a lease of these tests."""


async def survives(
    experiment: Experiment, what: str, names: tuple[str, ...], spoil: Callable[[Proxy], None], seconds: float = OUTAGE_SECONDS
) -> None:
    """Spoils these links while jobs are under way and others are posted; all of them are completed soon after it is over."""
    ids = await experiment.post(2, f"long before {what}")
    await asyncio.sleep(0.7)  # their predictions run, or have just ended
    ids += await experiment.post(2, f"right before {what}")
    for name in names:
        spoil(getattr(experiment.links, name))
    during = asyncio.create_task(experiment.post(2, f"during {what}"))
    await asyncio.sleep(seconds)
    experiment.links.heal()
    healed = time.monotonic()
    ids += await experiment.post(1, f"after {what}") + await during
    await experiment.completed(ids, RECOVERED_WITHIN)
    took = time.monotonic() - healed
    experiment.note(f"the return of the network: {what}", took)
    assert took < RECOVERED_WITHIN, what


async def test_slow_links_and_links_that_are_reset_cost_time_alone(start):
    experiment: Experiment = start()
    await experiment.completes("first")
    await survives(experiment, "every link slow", LINKS, lambda link: link.latency(0.2))
    for name in LINKS:
        await survives(experiment, f"{name} reset", (name,), lambda link: link.resetting(), seconds=1)
    await survives(experiment, "every link reset", LINKS, lambda link: link.resetting())
    await experiment.all_is_well()


async def test_links_that_are_silent_both_ways_or_one_way_only_cost_time_alone(start):
    async def each_link(experiment: Experiment, way: Way) -> None:
        await experiment.completes("first")
        for name in LINKS:
            await survives(experiment, f"{name} silent {WAYS[way]}", (name,), lambda link: link.black_hole(way))
        # A session that half a request reached is in a transaction until PostgreSQL's keepalive ends it.
        given_up = KEEPALIVE_SECONDS + 10
        await until(lambda: experiment.links.jobs_postgresql.silent_connections == 0, given_up, what="the end of silent sessions")
        await experiment.all_is_well()

    experiments: dict[Way, Experiment] = {way: start() for way in WAYS}
    async with asyncio.TaskGroup() as tasks:
        for way, experiment in experiments.items():
            tasks.create_task(each_link(experiment, way))
