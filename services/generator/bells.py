"""The bell: messages of RabbitMQ that say which jobs wait. They wait here for a free slot, never for a job's end."""

import asyncio
import math
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

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
"""In one message, as many as one claim may name. Ours hold 20 at most."""


class Part(NamedTuple):
    """What one claim takes of a message."""

    bell: "Bell"
    job_ids: Sequence[str]
    request_ids: Sequence[str]
    """Which requests these jobs are of."""


@dataclass(eq=False)
class Bell:
    """One message."""

    message: AbstractIncomingMessage
    """What has to be acknowledged or given back."""
    ready: JobsReady
    """The jobs that it names."""
    heard_at: float = field(default_factory=time.monotonic)
    """When it came, or was last claimed of."""
    asked: int = 0
    """How many of its jobs were claimed, the first ones first."""
    rests_until: float = math.inf
    """When, by the monotonic clock, what its first claim has left of it waits no longer."""

    @property
    def done(self) -> bool:
        """Whether all of its jobs were claimed."""
        return self.asked == len(self.ready.job_ids)

    @property
    def overdue(self) -> bool:
        """Whether what is left of it is to be claimed with slots or without."""
        return time.monotonic() >= self.rests_until

    def part(self, jobs: int, patience: float) -> Part:
        """Its next jobs, which are claimed now: `jobs` at most, or all if it is overdue, which it is `patience` after the first."""
        some = slice(self.asked, None if self.overdue else self.asked + jobs)
        part = Part(self, self.ready.job_ids[some], self.ready.request_ids[some])
        self.asked += len(part.job_ids)
        self.heard_at = time.monotonic()
        self.rests_until = min(self.rests_until, self.heard_at + patience)
        return part

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

    def take(self, slots: int, patience: float) -> list[Part]:
        """The oldest messages, with as many jobs as there are slots; what is left of the last one waits for more slots.

        Jobs that are claimed without a slot for them have to be rung for again. Yet what has been left for `patience`
        seconds is taken without slots, too: another generator may have some.
        """
        parts: list[Part] = []
        while self._waiting and (slots > 0 or self._waiting[0].overdue):
            parts.append(self._waiting[0].part(slots, patience))
            slots -= len(parts[-1].job_ids)
            if self._waiting[0].done:
                self._waiting.pop(0)
        return parts

    def rest_seconds(self) -> float:
        """How long what is left of a message waits yet; infinity where nothing is."""
        return self._waiting[0].rests_until - time.monotonic() if self._waiting else math.inf

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
