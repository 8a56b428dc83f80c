"""The sweeper: what time has ended is ended here. Leases of workers that fell silent, deadlines, look-ups that are too late."""

import asyncio
import time

import structlog
from prometheus_client import Counter

from chassis.errors import AppError
from jobs.relay import Relay
from jobs.store import Store

log = structlog.get_logger()

FORGET_SECONDS = 60
"""How often old idempotency keys and workers are deleted."""

_swept = Counter("mediagen_jobs_swept_total", "Jobs that time moved on, by what ran out.", ["verb"])


async def sweep(store: Store, relay: Relay, interval: float, idempotency_seconds: float) -> None:
    """Sweeps every `interval` seconds for ever; while the database is away it only waits."""
    forgotten = time.monotonic()
    while True:
        await asyncio.sleep(interval)
        try:
            done = await store.sweep()
            if time.monotonic() - forgotten > FORGET_SECONDS:
                forgotten = time.monotonic()
                await store.forget(idempotency_seconds)
        except AppError as error:
            log.warning("sweeper.waiting", error=error.message)
            continue
        for verb, count in done.items():
            _swept.labels(verb).inc(count)
            if count:
                log.info("sweeper.ended", verb=verb, jobs=count)
                relay.wake()
