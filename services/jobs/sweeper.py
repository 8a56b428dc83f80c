"""The sweeper: what time has ended is ended here. Leases of workers that fell silent, deadlines, look-ups that are too late."""

import asyncio
import time

import structlog

from chassis.errors import AppError
from chassis.failpoints import failpoint
from jobs import metrics
from jobs.relay import Relay
from jobs.store import Store

log = structlog.get_logger()

FORGET_SECONDS = 60
"""How often old idempotency keys and workers are deleted."""


async def sweep(store: Store, relay: Relay, interval: float, idempotency_seconds: float) -> None:
    """Sweeps every `interval` seconds for ever; while the database is away it only waits."""
    forgotten = time.monotonic()
    while True:
        await asyncio.sleep(interval)
        try:
            failpoint("jobs.sweep.began")
            done = await store.sweep()
            if time.monotonic() - forgotten > FORGET_SECONDS:
                forgotten = time.monotonic()
                await store.forget(idempotency_seconds)
        except AppError as error:
            log.warning("sweeper.waiting", error=error.message)
            continue
        except Exception:  # one odd row must not end the service, and with it every call: it would do so after each restart
            log.exception("sweeper.failed")
            continue
        for verb, count in done.items():
            metrics.swept(verb).inc(count)
            if count:
                failpoint("jobs.sweep.committed")
                log.info("sweeper.ended", verb=verb, jobs=count)
                relay.wake()
