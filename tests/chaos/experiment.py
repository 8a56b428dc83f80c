"""One running system whose clients remember everything, with a proxy on each of its links; judged by the history checker."""

import asyncio
import itertools
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from typing import Any

import httpx

from chaos.links import Links
from history.checker import check
from history.collect import collect, ledger
from history.evidence import Evidence
from history.recorder import Recorder
from servers import Servers
from stack import Stack
from waiting import until

FAST = {
    "JOBS_TIME_SCALE": "0.1",
    "JOBS_CREATES_PER_MINUTE": "0",
    "JOBS_READS_PER_MINUTE": "0",
    "SIMULATOR_CREATES_PER_MINUTE": "0",
    "SIMULATOR_READS_PER_MINUTE": "0",
    "SIMULATOR_PREDICT_SECONDS": "0.7",
}
"""Leases of 3 s and a settle time of 9 s, and no budget: what takes long here is what a fault makes long."""

RECOVERED_WITHIN = 30.0
"""A link that works again may show no trace of its fault after so many seconds."""


class Experiment:
    """A system under faults."""

    def __init__(self, stack: Stack, links: Links, note: Callable[[str, float], None]) -> None:
        """`note` keeps a recovery that was measured, by what recovered."""
        self.stack = stack
        self.links = links
        self.recorder = Recorder(stack)
        self.note = note
        self._numbers = itertools.count()

    async def post(self, jobs: int, phase: str) -> list[str]:
        """Posts jobs whose prompts name the phase; each is repeated until it is accepted."""
        return await self.recorder.post_many([f"{phase} {next(self._numbers)}" for _ in range(jobs)])

    async def completes(self, phase: str, within: float = RECOVERED_WITHIN) -> float:
        """Posts one job, which has to be completed so soon; returns after how many seconds it was."""
        began = time.monotonic()
        (job_id,) = await self.post(1, phase)
        await self.completed([job_id], within)
        took = time.monotonic() - began
        assert took < within, f"{phase}: {took:.1f} s"
        return took

    async def completed(self, job_ids: list[str], within: float) -> None:
        """Waits until all of these are completed."""

        async def all_completed() -> bool:
            views = await asyncio.gather(*(self.recorder.job(job_id) for job_id in job_ids))
            states = [view and view["status"] for view in views]
            assert not {"failed", "canceled"} & set(states), [view for view in views if view and view["status"] != "completed"]
            return all(state == "completed" for state in states)

        await until(all_completed, within, what=f"{len(job_ids)} jobs to be completed")

    async def ledger(self) -> dict[str, Any]:
        """What the simulator counted."""
        return await ledger(self.stack)

    async def creates_are(self, count: int) -> bool:
        """Whether the simulator has made exactly so many predictions."""
        return (await self.ledger())["creates"] == count

    async def faults(self, *rules: dict[str, Any]) -> None:
        """Puts fault rules into the simulator, in place of those that are there."""
        async with httpx.AsyncClient(base_url=self.stack.simulator_url, timeout=30) as http:
            answer = await http.put("/control/faults", json={"rules": list(rules)})
            assert answer.status_code == 200, answer.text

    async def metric(self, part: str, name: str) -> float:
        """The sum of a metric of a part, over its labels."""
        async with httpx.AsyncClient(timeout=10) as http:
            text = (await http.get(f"{self.stack.metrics_url(part)}/metrics")).raise_for_status().text
        values = [float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        assert values, f"{part} has no metric {name}"
        return sum(values)

    async def verdict(self, seconds: float = 60) -> Evidence:
        """Every job comes to its end in time, and the history shows no violation."""
        await self.recorder.all_finished(seconds)
        evidence = await collect(self.stack, self.recorder)
        violations = check(evidence)
        assert not violations, "\n".join(map(str, violations))
        return evidence

    async def all_is_well(self, seconds: float = 60) -> None:
        """Besides: every job is completed, and was paid for exactly once."""
        evidence = await self.verdict(seconds)
        others = [job["id"] for job in evidence.jobs if job["state"] != "succeeded"]
        assert not others, f"not completed: {others}"
        assert evidence.ledger["creates"] == len(evidence.jobs), f"{len(evidence.jobs)} jobs, {evidence.ledger['creates']} creates"


def begin(
    kept: AsyncExitStack,
    servers: Servers,
    name: str,
    note: Callable[[str, float], None],
    *,
    generators: int = 2,
    database_url: str = "",
    **settings: str,
) -> Experiment:
    """Starts a system, which ends with `kept`, and returns the experiment on it. The database is a fresh one, unless one is given.

    `name` is in the name of the folder of its logs.
    """
    database_url = database_url or kept.enter_context(servers.database(servers.template))
    amqp_url, bucket = kept.enter_context(servers.vhost()), servers.bucket()
    links = kept.enter_context(closing(Links(database_url, amqp_url, bucket.endpoint)))
    state = servers.state / f"stack-{len(list(servers.state.glob('stack-*'))) + 1}-{name[:40]}"
    stack = Stack(state, servers, database_url, amqp_url, bucket, {**links.settings(), **FAST, **settings})
    links.stack = stack
    kept.callback(stack.stop)
    kept.callback(links.heal)
    stack.start(generators)
    experiment = Experiment(stack, links, note)
    kept.push_async_callback(experiment.recorder.aclose)
    return experiment
