"""The relay: rings for jobs that are due, as far ahead as generators have slots and the account has budget."""

import asyncio
import contextlib

import structlog

from chassis.errors import AppError
from jobs.bell import Bell
from jobs.store import Store

log = structlog.get_logger()


class Relay:
    """Looks at the table whenever it is woken, and every so often in any case; between looks it lends its credit to new jobs."""

    def __init__(self, store: Store, bell: Bell, interval: float) -> None:
        """`interval` is in seconds."""
        self._store = store
        self._bell = bell
        self._interval = interval
        self._woken = asyncio.Event()
        self._credit = 0

    def take_credit(self, jobs: int) -> int:
        """How many of `jobs` new jobs may be rung for at once, without a look at the table. None while anything older is due."""
        if not self._bell.up:
            return 0
        taken = min(jobs, self._credit)
        self._credit -= taken
        return taken

    def ring(self, jobs: list[tuple[str, str]]) -> None:
        """Rings for jobs that were stored as rung, once they are committed."""
        self._bell.ring(jobs)

    def wake(self) -> None:
        """There may be something due."""
        self._woken.set()

    async def run(self) -> None:
        """Relays for ever; while the database is away it only waits."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._woken.wait()
            self._woken.clear()
            if not self._bell.up:
                self._credit = 0
                continue
            try:
                credit, backlog, rung = await self._store.ring()
            except AppError as error:
                log.warning("relay.waiting", error=error.message)
                self._credit = 0
                continue
            self._bell.ring(rung)
            self._credit = 0 if backlog else max(0, credit)
            if backlog and credit > 0:
                self.wake()
