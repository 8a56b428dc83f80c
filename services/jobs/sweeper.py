"""The sweeper: what time has ended is ended here. Leases of workers that fell silent, deadlines, look-ups that are too late."""

import asyncio
import time

import asyncpg
import structlog
from opentelemetry.trace import SpanKind

from chassis import tracing
from chassis.errors import AppError
from chassis.failpoints import failpoint
from jobs import metrics
from jobs.about import attributes, ids
from jobs.relay import Relay
from jobs.states import State
from jobs.store import Store

log = structlog.get_logger()


async def sweep(store: Store, relay: Relay, interval: float) -> None:
    """Sweeps every `interval` seconds for ever; while the database is away it only waits."""
    while True:
        await asyncio.sleep(interval)
        try:
            failpoint("jobs.sweep.began")
            began = time.time()
            done = await store.sweep()
        except AppError as error:
            log.warning("sweeper.waiting", error=error.message)
            continue
        except Exception:  # one odd row must not end the service, and with it every call: it would do so after each restart
            log.exception("sweeper.failed")
            continue
        for verb, rows in done.items():
            metrics.swept(verb).inc(len(rows))
            if rows:
                failpoint("jobs.sweep.committed")
                relay.wake()
            for row in rows:
                _tell(verb, row, began)


def _tell(verb: str, row: asyncpg.Record, began: float) -> None:
    """In the log and in the job's trace, as reports are told: `worker_id` is of the generator that held it."""
    worker_id = str(row["holder"]) if row["holder"] else None
    error_code = row["error_code"] if row["state"] == State.FAILED else None
    log.info(
        "job.swept",
        **ids(row["job_id"], row),
        epoch=row["epoch"],
        verb=verb,
        state=row["state"],
        error_code=error_code,
        worker_id=worker_id,
    )
    about = attributes(row["job_id"], row) | ({"mediagen.worker_id": worker_id} if worker_id else {})
    tracing.record(f"{verb} job", row["traceparent"], began, SpanKind.INTERNAL, about, error_code or "")
