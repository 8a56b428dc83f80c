"""A system with two of everything that may be doubled, whose instances are replaced as a cluster replaces pods."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

import ports
from history.checker import check
from history.collect import collect
from history.recorder import Recorder
from services import ROOT
from stack import Stack
from upgrade.balancing import Ingress, Rotation, Service

PAUSE_SECONDS = 1.0
"""Between leaving the balancers and SIGTERM: the chart's preStop pause. Ours hear of it at once, a cluster needs its 10 s."""

GRACE_SECONDS = {"jobs": 20.0, "gateway": 20.0, "generator": 40.0}
"""How long each service may take from SIGTERM to its end."""

COMPLETED_SECONDS = 20.0
"""Within this a job is completed, under load and in any mix of versions; what only the end of a lease mends takes 30 s."""

JOBS = ("jobs", "jobs-2")
GENERATORS = ("generator-1", "generator-2")
GATEWAYS = ("gateway", "gateway-2")

SETTINGS = {
    "JOBS_CREATES_PER_MINUTE": "0",
    "JOBS_READS_PER_MINUTE": "0",
    "JOBS_POOL_SIZE": "5",
    "SIMULATOR_CREATES_PER_MINUTE": "0",
    "SIMULATOR_READS_PER_MINUTE": "0",
    "SIMULATOR_PREDICT_SECONDS": "1",
}
"""No budgets; the protocol's times are the real ones, so that what only the end of a lease would mend is seen as a delay."""


@dataclass(frozen=True)
class Ended:
    """How an instance ended."""

    name: str
    code: int | None
    """Its exit code, below 0 where a signal killed it."""
    seconds: float
    """From SIGTERM on."""

    def check(self) -> None:
        """Fails unless it ended by itself and in time."""
        grace = GRACE_SECONDS[self.name.partition("-")[0]]
        assert (self.code, self.seconds < grace) == (0, True), f"{self} has a grace of {grace:g} s"


class Fleet:
    """Two instances of jobs, generator and gateway; the gateways behind an ingress, both ports of jobs behind Services."""

    def __init__(self, stack: Stack, jobs_port: int, worker_port: int) -> None:
        """The parts of `stack` have to find jobs at these ports."""
        self.stack = stack
        self.jobs_port = jobs_port
        self._gateways = Rotation((name, self.port(name)) for name in GATEWAYS)
        self._jobs = Rotation((name, self.port(name)) for name in JOBS)
        self._workers = Rotation((name, stack.port(f"{_setting(name)}_WORKER_PORT")) for name in JOBS)
        self._services = [Service(jobs_port, self._jobs), Service(worker_port, self._workers)]

    @classmethod
    def wired(cls, make_stack, **settings: str) -> "Fleet":
        """A fleet of the stack that `make_stack` makes of settings."""
        jobs_port, worker_port = ports.any_free_port(), ports.any_free_port()
        addresses = {"GATEWAY_JOBS_ADDRESS": f"127.0.0.1:{jobs_port}", "GENERATOR_JOBS_ADDRESS": f"127.0.0.1:{worker_port}"}
        return cls(make_stack({**SETTINGS, **addresses, **settings}), jobs_port, worker_port)

    async def start(self) -> None:
        """Starts all of it."""
        for service in self._services:
            await service.start()
        await asyncio.to_thread(self.stack.start, 2, jobs=2, gateways=2)
        self.recorder = Recorder(self.stack, give_up_after=0, transport=Ingress(self._gateways))

    async def aclose(self) -> None:
        """Ends all of it."""
        if hasattr(self, "recorder"):
            await self.recorder.aclose()
        await asyncio.to_thread(self.stack.stop)
        for service in self._services:
            await service.aclose()

    async def end(self, name: str) -> Ended:
        """Ends an instance as a cluster does: out of the balancers, the pause, SIGTERM."""
        for rotation in self._rotations(name):
            rotation.take_out(name)
        await asyncio.sleep(PAUSE_SECONDS)
        began = time.monotonic()
        await asyncio.to_thread(self.stack.stop, name)
        return Ended(name, self.stack.exit_code(name), time.monotonic() - began)

    async def begin(self, name: str, source: Path = ROOT) -> None:
        """Starts an instance again, of that version, and puts it in once it is ready."""
        self.stack.run_from(source, name)
        await asyncio.to_thread(self.stack.start_part, name)
        for rotation in self._rotations(name):
            rotation.put_in(name)

    async def roll(self, *names: str, source: Path) -> None:
        """Replaces instances one after another."""
        for name in names:
            (await self.end(name)).check()
            await self.begin(name, source)

    async def completes(self, prompt: str) -> None:
        """Posts a job, which has to be completed soon."""
        job_id = await self.recorder.post(prompt)
        await self.recorder.until(job_id, lambda view: bool(view["status"] == "completed"), COMPLETED_SECONDS)

    async def faults(self, *rules: dict[str, object]) -> None:
        """Lets the simulator do these things wrong, and no others."""
        async with httpx.AsyncClient() as http:
            answer = await http.put(f"{self.stack.simulator_url}/control/faults", json={"rules": list(rules)})
        assert answer.status_code == 200, answer.text

    def port(self, name: str) -> int:
        """Where a gateway itself listens."""
        return self.stack.port(f"{_setting(name)}_PORT")

    async def check_history(self, seconds: float = 90) -> None:
        """Waits for every job's end and fails where a promise was not kept."""
        await self.recorder.all_finished(seconds)
        violations = check(await collect(self.stack, self.recorder))
        assert not violations, "\n".join(map(str, violations))

    def _rotations(self, name: str) -> list[Rotation]:
        return {"jobs": [self._jobs, self._workers], "gateway": [self._gateways]}.get(name.partition("-")[0], [])


def _setting(name: str) -> str:
    return name.upper().replace("-", "_")
