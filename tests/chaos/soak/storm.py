"""The storm: faults that strike at random times, at most two at once, in an order that the seed repeats."""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chaos.soak import processes
from chaos.soak.faults import Fault, catalogue
from chaos.soak.settings import Settings
from chaos.soak.system import Soaked

AT_ONCE = 2

MEAN_GAP, LEAST_GAP = 8.0, 1.5
"""Seconds from one fault to the next, on the average and at the protocol's real times; and the least average of any scale."""


@dataclass
class Struck:
    """A fault that struck."""

    fault: Fault
    began: float
    """Seconds since 1970."""
    ended: float | None = None
    """When it was healed; None while it lasts."""
    grant: tuple[str, int] | None = None
    """Job and epoch that the killed generator was granted last."""
    problem: str = ""
    """What went wrong with the fault itself: a process that did not end or start as it should."""


class Planned(NamedTuple):
    """A fault to come."""

    gap: float
    """Seconds after the one before it, at least."""
    fault: Fault
    lasts: float
    """Seconds."""


def plan(faults: Sequence[Fault], settings: Settings) -> Iterator[Planned]:
    """All faults to come, for ever: the same ones for the same seed."""
    draw = random.Random(settings.seed)
    weights = [fault.weight for fault in faults]
    while True:
        gap = draw.expovariate(1 / max(LEAST_GAP, MEAN_GAP * settings.scale))
        fault = draw.choices(faults, weights)[0]
        yield Planned(gap, fault, draw.uniform(fault.least, fault.most) * settings.scale)


def may_strike(fault: Fault, active: Sequence[Fault]) -> bool:
    """Whether it may strike beside these; if not it waits, so that the order of faults stays the seed's."""
    return len(active) < AT_ONCE and not any(other.occupies & fault.occupies for other in active)


class Storm:
    """Chooses faults and lets them strike."""

    def __init__(self, system: Soaked) -> None:
        """The seed and the scale are the system's settings'."""
        self.system = system
        self.struck: list[Struck] = []
        faults = catalogue([name for name in system.stack.parts if name.startswith("generator-")])
        self._plan = plan(faults, system.settings)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def active(self) -> list[Struck]:
        """What lasts now."""
        return [one for one in self.struck if one.ended is None]

    async def rage(self, seconds: float) -> None:
        """Lets faults strike for so long, and waits until the last one is healed."""
        deadline = time.monotonic() + seconds
        for gap, fault, lasts in self._plan:
            await asyncio.sleep(max(0.0, min(gap, deadline - time.monotonic())))
            while time.monotonic() < deadline and not may_strike(fault, [one.fault for one in self.active]):
                await asyncio.sleep(0.2)
            if time.monotonic() >= deadline:
                break
            task = asyncio.create_task(self._strike(fault, lasts))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _strike(self, fault: Fault, seconds: float) -> None:
        grant = None
        if fault.generator:
            grant = await asyncio.to_thread(processes.last_grant, self.system.stack.parts[fault.generator])
        struck = Struck(fault, time.time(), grant=grant)
        self.struck.append(struck)
        try:
            await fault.strike(self.system, seconds)
        except Exception as error:
            struck.problem = f"{type(error).__name__}: {error}"
        finally:
            struck.ended = time.time()
