"""Forgetting: what is past its time is deleted, in batches so small that nothing waits for one."""

import asyncio
import time
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from prometheus_client import Counter

from chassis.errors import AppError
from jobs.database import Database

log = structlog.get_logger()

FORGET_SECONDS = 10
"""How long it rests between two rounds at least. A minute's jobs, deleted at once, would be felt by those that wait."""

RESTS = 9
"""How many times as long as a round took it rests at least: each walks past all that is old and not finished yet."""

BATCH = 500
"""Rows that one statement deletes, or looks at."""

DAY = timedelta(days=1)

_deleted = Counter("mediagen_jobs_deleted_total", "Jobs that were deleted, JOBS_RETENTION_SECONDS after their end.")

_KEYS = """
    WITH old AS MATERIALIZED (SELECT tenant_id, key FROM idempotency_keys WHERE created_at < $1 ORDER BY created_at LIMIT $2),
    gone AS (DELETE FROM idempotency_keys k USING old o WHERE k.tenant_id = o.tenant_id AND k.key = o.key)
    SELECT count(*) AS seen FROM old
"""

_NOTES = """
    WITH old AS MATERIALIZED (SELECT webhook_id FROM provider_inbox WHERE received_at < $1 ORDER BY received_at LIMIT $2),
    gone AS (DELETE FROM provider_inbox i USING old o WHERE i.webhook_id = o.webhook_id)
    SELECT count(*) AS seen FROM old
"""

_JOBS = """
    WITH passed AS MATERIALIZED (SELECT id, finished_at FROM jobs WHERE id > $1 AND id < $2 ORDER BY id LIMIT $4),
    doomed AS (
        SELECT id FROM jobs WHERE id IN (SELECT id FROM passed WHERE finished_at < $3) ORDER BY id FOR UPDATE SKIP LOCKED
    ),
    gone AS (DELETE FROM jobs WHERE id IN (SELECT id FROM doomed) RETURNING 1)
    SELECT (SELECT id FROM passed ORDER BY id DESC LIMIT 1) AS last, (SELECT count(*) FROM gone) AS gone
"""


class Forgetting:
    """Deletes idempotency keys, workers that are gone, what webhooks said a day ago and, if they are not kept for ever, jobs."""

    def __init__(self, database: Database, *, lease: float, idempotency_seconds: float, retention_seconds: float) -> None:
        """Workers are gone after ten leases. Jobs are deleted `retention_seconds` after their end; 0 means never."""
        self._database = database
        self._workers = timedelta(seconds=10 * lease)
        self._idempotency = timedelta(seconds=idempotency_seconds)
        self._retention = timedelta(seconds=retention_seconds)

    async def run(self) -> None:
        """Does so for ever; while the database is away it only waits."""
        took = 0.0
        while True:
            await asyncio.sleep(max(FORGET_SECONDS, RESTS * took))
            began = time.monotonic()
            try:
                await self.once()
            except AppError as error:
                log.warning("forgetting.waiting", error=error.message)
            except Exception:  # nothing depends on it: the service goes on, and it is tried again
                log.exception("forgetting.failed")
            took = time.monotonic() - began

    async def once(self) -> None:
        """Deletes all that is past its time as of now. Keys go before jobs: one that is remembered leads to a job that is there."""
        [clock] = await self._database.fetch("SELECT now() AS now")
        now: datetime = clock["now"]
        await self._database.fetch("DELETE FROM workers WHERE heartbeat_at < $1", now - self._workers)
        await self._in_batches(_KEYS, now - self._idempotency)
        await self._in_batches(_NOTES, now - DAY)
        if self._retention:
            await self._jobs(now - self._retention)

    async def _in_batches(self, statement: str, before: datetime) -> None:
        """Ends when there are none: what another instance deletes meanwhile is seen, and waited for."""
        while True:
            began = time.monotonic()
            [row] = await self._database.fetch(statement, before, BATCH)
            if row["seen"] < BATCH:
                return
            await asyncio.sleep(time.monotonic() - began)  # at least half of the time is everybody else's

    async def _jobs(self, before: datetime) -> None:
        """Walks through the jobs that were accepted before, by their ids: those are of their time (UUIDv7, RFC 9562)."""
        end, deleted = UUID(int=int(before.timestamp() * 1000) << 80), 0
        passed: UUID | None = UUID(int=0)
        while passed is not None:
            began = time.monotonic()
            [row] = await self._database.fetch(_JOBS, passed, end, before, BATCH)
            passed, deleted = row["last"], deleted + row["gone"]
            _deleted.inc(row["gone"])
            await asyncio.sleep(time.monotonic() - began)
        if deleted:
            log.info("jobs.deleted", jobs=deleted, finished_before=before.isoformat())
