"""The bell: tells generators through RabbitMQ which jobs are ready. A ring that is lost costs time, never a job."""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

import structlog
from aio_pika.abc import AbstractConnection
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Histogram

from chassis import rabbit, tracing
from chassis.failpoints import failpoint, failpoint_within
from jobs.queues import watch_queues
from mediagen.jobs.v1 import ready_pb2

log = structlog.get_logger()

QUEUE = ready_pb2.JobsReady.DESCRIPTOR.full_name
"""Named by what it carries, so that publisher and consumer cannot drift apart."""

DEAD_LETTERS = f"{QUEUE}.dead"
"""Where a policy puts messages that nobody could make anything of."""

IDS_PER_MESSAGE = 20
IN_FLIGHT = 100
"""Messages that wait for their confirms at once."""

_rung = Counter("mediagen_jobs_rung_total", "Jobs that were rung for, once per ring.")
_messages = Counter("mediagen_rabbitmq_published_total", "Messages that RabbitMQ confirmed.")
_confirm_seconds = Histogram(
    "mediagen_rabbitmq_confirm_seconds",
    "Seconds from a message's publication until RabbitMQ confirmed it, or until that took too long.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)


class Ring(NamedTuple):
    """A job that is to be told of. Its message carries the ids; the trace goes on over the row."""

    job_id: str
    request_id: str
    traceparent: str


class Bell:
    """Publishes ids while RabbitMQ is there; where it is not, `up` is False and nothing is kept: the table rings again."""

    def __init__(self, url: str) -> None:
        """`url` is amqp://…; nothing connects before `run`."""
        self._url = url
        self._waiting: list[Ring] = []
        self._news = asyncio.Event()
        self._unconfirmed = 0
        self._settled = asyncio.Event()
        self.up = False

    def ring(self, jobs: Sequence[Ring]) -> None:
        """Publishes them soon, as many in a message as wait by then."""
        if jobs and self.up:
            self._waiting.extend(jobs)
            self._news.set()

    async def flush(self) -> None:
        """Returns once everything that was rung is confirmed; while RabbitMQ is away that is at once, as nothing is kept."""
        while self.up and (self._waiting or self._unconfirmed):
            self._settled.clear()
            await self._settled.wait()

    async def run(self) -> None:
        """Keeps the connection up for ever."""
        await rabbit.supervise(self._url, "jobs: bell", self._session)

    async def _session(self, connection: AbstractConnection) -> None:
        try:
            async with rabbit.publisher(connection, QUEUE) as publish:
                self.up = True
                free = asyncio.Semaphore(IN_FLIGHT)
                async with asyncio.TaskGroup() as publishes:
                    publishes.create_task(watch_queues(connection, [QUEUE, DEAD_LETTERS]))
                    while True:
                        await self._news.wait()
                        await free.acquire()
                        batch, self._waiting = self._waiting[:IDS_PER_MESSAGE], self._waiting[IDS_PER_MESSAGE:]
                        if not self._waiting:
                            self._news.clear()
                        message = ready_pb2.JobsReady(
                            job_ids=[ring.job_id for ring in batch], request_ids=[ring.request_id for ring in batch]
                        )

                        async def confirmed(body: bytes, rings: list[Ring]) -> None:
                            failpoint("jobs.bell.publishing")
                            began = time.time()
                            async with failpoint_within("jobs.bell.published", 0.001):
                                try:
                                    await publish(body)
                                except TimeoutError:  # a broker that confirms nothing is slow, too
                                    _confirm_seconds.observe(max(0.0, time.time() - began))
                                    raise
                            failpoint("jobs.bell.confirmed")
                            free.release()
                            self._unconfirmed -= 1
                            self._settled.set()
                            _messages.inc()
                            _rung.inc(len(rings))
                            _confirm_seconds.observe(max(0.0, time.time() - began))
                            _record(rings, began)

                        self._unconfirmed += 1
                        publishes.create_task(confirmed(message.SerializeToString(), batch))
        finally:
            self.up = False
            self._waiting.clear()
            self._unconfirmed = 0
            self._news.clear()
            self._settled.set()


def _record(rings: list[Ring], began: float) -> None:
    for ring in rings:
        about: tracing.Attributes = {
            "messaging.system": "rabbitmq",
            "messaging.destination.name": QUEUE,
            "messaging.batch.message_count": len(rings),
            "mediagen.job_id": ring.job_id,
        }
        tracing.record(f"send {QUEUE}", ring.traceparent, began, SpanKind.PRODUCER, about)
