"""The bell: tells generators through RabbitMQ which jobs are ready. A ring that is lost costs time, never a job."""

import asyncio
from collections.abc import Sequence

import structlog
from aio_pika.abc import AbstractConnection
from prometheus_client import Counter

from chassis import rabbit
from mediagen.jobs.v1 import ready_pb2

log = structlog.get_logger()

QUEUE = ready_pb2.JobsReady.DESCRIPTOR.full_name
"""Named by what it carries, so that publisher and consumer cannot drift apart."""

IDS_PER_MESSAGE = 20
IN_FLIGHT = 100
"""Messages that wait for their confirms at once."""

_rung = Counter("mediagen_jobs_rung_total", "Jobs that were rung for, once per ring.")
_messages = Counter("mediagen_rabbitmq_published_total", "Messages that RabbitMQ confirmed.")


class Bell:
    """Publishes ids while RabbitMQ is there; where it is not, `up` is False and nothing is kept: the table rings again."""

    def __init__(self, url: str) -> None:
        """`url` is amqp://…; nothing connects before `run`."""
        self._url = url
        self._waiting: list[tuple[str, str]] = []
        self._news = asyncio.Event()
        self.up = False

    def ring(self, jobs: Sequence[tuple[str, str]]) -> None:
        """Publishes (job id, request id) pairs soon, as many in a message as wait by then."""
        if jobs and self.up:
            self._waiting.extend(jobs)
            self._news.set()

    async def run(self) -> None:
        """Keeps the connection up for ever."""
        await rabbit.supervise(self._url, "jobs: bell", self._session)

    async def _session(self, connection: AbstractConnection) -> None:
        try:
            async with rabbit.publisher(connection, QUEUE) as publish:
                self.up = True
                free = asyncio.Semaphore(IN_FLIGHT)
                async with asyncio.TaskGroup() as publishes:
                    while True:
                        await self._news.wait()
                        await free.acquire()
                        batch, self._waiting = self._waiting[:IDS_PER_MESSAGE], self._waiting[IDS_PER_MESSAGE:]
                        if not self._waiting:
                            self._news.clear()
                        message = ready_pb2.JobsReady(
                            job_ids=[job_id for job_id, _ in batch], request_ids=[request_id for _, request_id in batch]
                        )

                        async def confirmed(body: bytes, ids: int) -> None:
                            await publish(body)
                            free.release()
                            _messages.inc()
                            _rung.inc(ids)

                        publishes.create_task(confirmed(message.SerializeToString(), len(batch)))
        finally:
            self.up = False
            self._waiting.clear()
            self._news.clear()
