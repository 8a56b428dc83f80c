"""Watching jobs: one statement every quarter of a second reads the versions of all that are watched here."""

import asyncio
import contextlib
from collections.abc import Iterator
from uuid import UUID

import structlog

from chassis.errors import AppError
from jobs.database import Database

log = structlog.get_logger()

INTERVAL_SECONDS = 0.25


class Watch:
    """One watcher's view of one job: `changed` is set when its version has grown."""

    def __init__(self, version: int) -> None:
        """`version` is the newest that the watcher has seen."""
        self.version = version
        self.changed = asyncio.Event()


class Watcher:
    """Tells watchers that their jobs have changed."""

    def __init__(self, database: Database) -> None:
        """Nothing is read while nobody watches."""
        self._database = database
        self._watches: dict[UUID, set[Watch]] = {}
        self._someone = asyncio.Event()
        self.stopping = False

    @contextlib.contextmanager
    def watching(self, job_id: UUID, version: int) -> Iterator[Watch]:
        """A watch over the job while the context lasts."""
        watch = Watch(version)
        self._watches.setdefault(job_id, set()).add(watch)
        self._someone.set()
        try:
            yield watch
        finally:
            watches = self._watches[job_id]
            watches.discard(watch)
            if not watches:
                del self._watches[job_id]

    def stop(self) -> None:
        """Wakes every watcher to see that the service ends: an open watch would hold its end up."""
        self.stopping = True
        for watches in self._watches.values():
            for watch in watches:
                watch.changed.set()

    async def run(self) -> None:
        """Looks for ever; while the database is away watchers only wait."""
        while True:
            if not self._watches:
                self._someone.clear()
                await self._someone.wait()
            try:
                rows = await self._database.fetch("SELECT id, version FROM jobs WHERE id = ANY($1::uuid[])", list(self._watches))
            except AppError as error:
                log.warning("watcher.waiting", error=error.message)
                rows = []
            for row in rows:
                for watch in self._watches.get(row["id"], ()):
                    if row["version"] > watch.version:
                        watch.version = row["version"]
                        watch.changed.set()
            await asyncio.sleep(INTERVAL_SECONDS)
