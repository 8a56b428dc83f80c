"""The bell: messages of RabbitMQ that say which jobs wait. They wait here for a free slot, never for a job's end."""

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage
from google.protobuf.message import DecodeError

from chassis import rabbit
from chassis.failpoints import failpoint
from mediagen.jobs.v1.ready_pb2 import JobsReady

log = structlog.get_logger()

QUEUE = JobsReady.DESCRIPTOR.full_name

PREFETCH = 16

MAX_IDS = 1000
"""As many as one claim may name. Ours hold 20 at most."""


@dataclass(eq=False)
class Bell:
    """One message."""

    message: AbstractIncomingMessage
    """What has to be acknowledged or given back."""
    ready: JobsReady
    """The jobs that it names."""
    heard_at: float = field(default_factory=time.monotonic)
    """When it came."""
    asked: int = 0
    """How many of its jobs were claimed for, the first ones first."""

    @property
    def done(self) -> bool:
        """Whether all of them were."""
        return self.asked == len(self.ready.job_ids)

    async def acknowledge(self) -> None:
        """It did its work. Where its connection is gone it comes again, which harms nothing."""
        try:
            await self.message.ack()
        except Exception as error:
            log.info("bell.ack_failed", error=type(error).__name__)
        else:
            failpoint("generator.bell.acknowledged")

    async def give_back(self) -> None:
        """Somebody else may take it."""
        try:
            await self.message.nack(requeue=True)
        except Exception as error:
            log.info("bell.nack_failed", error=type(error).__name__)

    async def refuse(self) -> None:
        """Nobody will ever make anything of it."""
        try:
            await self.message.reject(requeue=False)
        except Exception as error:
            log.info("bell.reject_failed", error=type(error).__name__)


class Bells:
    """The messages that wait, oldest first."""

    def __init__(self, changed: asyncio.Event) -> None:
        """`changed` is set whenever a message came."""
        self._changed = changed
        self._waiting: list[Bell] = []

    async def session(self, connection: AbstractConnection) -> None:
        """Listens on one connection until it is lost. What had come over it comes again over the next one."""
        try:
            await rabbit.consume(connection, QUEUE, PREFETCH, self._deliver)
        finally:
            self._waiting.clear()

    def take(self, jobs: int) -> list[tuple[Bell, Sequence[str]]]:
        """The oldest messages with the jobs to claim of each, `jobs` in all.

        A message waits on for what is left of it: jobs that are claimed without a slot for them have to be rung for again.
        """
        taken: list[tuple[Bell, Sequence[str]]] = []
        while self._waiting and jobs > 0:
            bell = self._waiting[0]
            some = bell.ready.job_ids[bell.asked : bell.asked + jobs]
            bell.asked += len(some)
            jobs -= len(some)
            taken.append((bell, some))
            if bell.done:
                self._waiting.pop(0)
        return taken

    def let_go(self, bell: Bell) -> None:
        """Nothing more is claimed of it."""
        if bell in self._waiting:
            self._waiting.remove(bell)

    def stale(self, seconds: float) -> Sequence[Bell]:
        """Takes those that have waited for longer than that."""
        old = [bell for bell in self._waiting if time.monotonic() - bell.heard_at > seconds]
        self._waiting = [bell for bell in self._waiting if bell not in old]
        return old

    def __bool__(self) -> bool:
        """Whether any waits."""
        return bool(self._waiting)

    async def _deliver(self, message: AbstractIncomingMessage) -> None:
        ready = _understood(message.body)
        if ready is None:
            log.error("bell.not_understood", message_id=message.message_id, size=len(message.body))
            await message.reject(requeue=False)  # to the dead letters: it would come again for ever
            return
        failpoint("generator.bell.received")
        self._waiting.append(Bell(message, ready))
        self._changed.set()


def _understood(body: bytes) -> JobsReady | None:
    """The message; None where it is none of ours. One claim takes several, so that a single bad id would spoil others' too."""
    try:
        ready = JobsReady.FromString(body)
        if 1 <= len(ready.job_ids) <= MAX_IDS:
            for job_id in ready.job_ids:
                uuid.UUID(job_id)
            return ready
    except (DecodeError, ValueError):
        pass
    return None
