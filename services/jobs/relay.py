"""The relay: rings for jobs that are due, as far ahead as generators have slots and the account has budget."""

import asyncio
import contextlib
from typing import NamedTuple

import structlog

from chassis.errors import AppError
from chassis.failpoints import failpoint
from jobs.bell import Bell, Ring
from jobs.store import Store

log = structlog.get_logger()

DRAIN_SECONDS = 3.0
"""How long the last rings may take to be confirmed. What is lost then is rung for again after Timing.ring, nothing more."""


class Credit(NamedTuple):
    """What was taken of it."""

    jobs: int
    """For how many jobs."""
    look: int
    """Which look at the table had found it."""


class Relay:
    """Looks at the table whenever it is woken, and every so often in any case; between looks it lends its credit to new jobs."""

    def __init__(self, store: Store, bell: Bell, interval: float) -> None:
        """`interval` is in seconds."""
        self._store = store
        self._bell = bell
        self._interval = interval
        self._woken = asyncio.Event()
        self._credit = 0
        self._looks = 0
        self._full = False
        self._stopping = False
        self._ended = asyncio.Event()

    def take_credit(self, jobs: int) -> Credit:
        """How many of `jobs` new jobs may be begun or rung for without a look at the table. None where the last saw any due."""
        taken = min(jobs, self._credit)
        self._credit -= taken
        return Credit(taken, self._looks)

    def return_credit(self, taken: Credit, jobs: int) -> None:
        """For so many of them nothing was rung. What a look has found since counts for more."""
        if taken.look == self._looks:
            self._credit += jobs

    @property
    def heard(self) -> bool:
        """Whether rings are heard: RabbitMQ is there."""
        return self._bell.up

    def ring(self, jobs: list[Ring]) -> None:
        """Rings for jobs that were stored as rung, once they are committed."""
        self._bell.ring(jobs)

    def wake(self) -> None:
        """There may be something due."""
        self._woken.set()

    def wake_for_more(self) -> None:
        """A new job is due. Where the last look found no room for what was due before, it is found when there is some.

        Where it cannot be rung for, it waits for a claim, and none that is newer may begin before.
        """
        if not self._bell.up:
            self._nothing_known()
        if not self._full:
            self.wake()

    def wake_for_room(self) -> None:
        """Some of what was rung for is claimed. While there is credit nothing waits for that."""
        if self._credit == 0:
            self.wake()

    async def run(self) -> None:
        """Relays until the drain; while the database is away it only waits."""
        while not self._stopping:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._woken.wait()
            self._woken.clear()
            self._full = False
            heard, look = self._bell.up, self._looks
            try:
                credit, backlog, rung = await self._store.ring(heard=heard)
            except AppError as error:
                log.warning("relay.waiting", error=error.message)
                self._nothing_known()
                continue
            except Exception:  # one odd row must not end the service, and with it every call: it would do so after each restart
                log.exception("relay.failed")
                self._nothing_known()
                continue
            if rung:
                failpoint("jobs.relay.rung")
                self._bell.ring(rung)
            overtaken = look != self._looks  # by a job that is due since
            self._looks += 1
            self._credit = 0 if backlog or overtaken else max(0, credit)
            self._full = backlog and (credit <= 0 or not heard)
            if backlog and not self._full:
                self.wake()
        self._ended.set()

    def _nothing_known(self) -> None:
        self._looks += 1
        self._credit = 0

    async def drain(self) -> None:
        """Ends `run` after the look that is under way, and returns once all that was rung for is confirmed, or after
        DRAIN_SECONDS."""
        self._stopping = True
        self.wake()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._ended.wait()
                await self._bell.flush()
