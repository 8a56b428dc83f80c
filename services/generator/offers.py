"""Offers: slots held out to jobs, which begins what it accepts in them at once. Bells and claims do without where there is none."""

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import AsyncIterable, Iterable

import grpc
import stamina
import structlog

from chassis.failpoints import failpoint
from generator.bucket import Bucket
from generator.jobs_client import JobsClient, may_succeed_later
from generator.leash import Leash
from generator.worker import Worker
from mediagen.jobs.v1 import worker_pb2 as pb

log = structlog.get_logger()

OFFER = pb.DESCRIPTOR.services_by_name["WorkerService"].methods_by_name["Offer"]
"""The call. gRPC must not repeat it by itself: its intents may be used."""

MOST_SLOTS = 100
"""How many slots are held out at most: as many as one claim asks for, in case it has to find out what became of them."""

OFFER_SECONDS = 20.0
"""How long one offer lasts: less than an old connection to jobs is left to its calls (30 s). So it ends by itself, and the next one
may go to another instance."""

WORDS = 5
"""How often jobs is told that this process lives, in a heartbeat's period; it stops believing it after half of one."""

SILENT = 0.75
"""After how much of a heartbeat's period without a word jobs has long used no slot any more, and has committed what it used. With a
database in trouble it may commit later: that is looked up when its lease has expired."""

MOST_FAILURES = 10
"""After so many in a row the rest between two offers, which each doubles, does not grow any more."""

END_SECONDS = 10.0
"""How long jobs may take to end an offer, and to answer a claim that asks what became of one."""


class Offers:
    """Holds half of the free slots out. It ends when the drain begins."""

    def __init__(self, jobs: JobsClient, worker: Worker, bucket: Bucket, leash: Leash) -> None:
        """`worker` has the slots, and takes what is granted."""
        self._jobs = jobs
        self._worker = worker
        self._bucket = bucket
        self._leash = leash
        self._left: dict[str, float] = {}
        """The intents that nothing was granted with, and when they were offered, by the monotonic clock."""
        self._spoken_at = -float("inf")

    async def run(self) -> None:
        """Offers until the drain. Whatever goes wrong costs speed, and nothing else."""
        await self._leash.held()
        failures = 0
        while not self._leash.draining:
            rest = self._word_seconds()
            if self._possible() and self._room() > 0:
                try:
                    rest = await self._offer()
                    failures = 0
                except Exception as error:
                    failures = min(failures + 1, MOST_FAILURES)
                    rest = min(60.0, rest * 2**failures)
                    await self._lost(error)
                self._set_left({})
                self._worker.changed.set()
            # Not all generators should come back in the same moment.
            await self._wait_out(rest * random.uniform(0.5, 1.0))  # noqa: S311

    async def _offer(self) -> float:
        """One call, until its time is over or its slots are wanted elsewhere. Returns how long to wait with the next one.

        Raises AioRpcError or TimeoutError where it is not known what became of its slots.
        """
        until = time.monotonic() + OFFER_SECONDS
        call = self._jobs.offer(OFFER_SECONDS + END_SECONDS)
        taking = asyncio.create_task(self._take(call))
        taking.add_done_callback(self._taken)
        try:
            while not taking.done() and self._possible() and time.monotonic() < until and not self._scarce():
                more, silent = self._more(), time.monotonic() - self._spoken_at
                if not more and silent < self._word_seconds():
                    await self._wait(self._word_seconds() - silent)
                    continue
                self._spoken_at = time.monotonic()
                self._set_left(self._left | dict.fromkeys(more, self._spoken_at))
                with contextlib.suppress(asyncio.InvalidStateError):  # it has ended; how, `taking` tells
                    await call.write(pb.OfferRequest(worker_id=self._jobs.worker_id, intent_ids=more))
                    self._spoken_at = time.monotonic()  # by then jobs may use them
            async with asyncio.timeout(END_SECONDS):
                await call.done_writing()
                await taking
        finally:
            taking.cancel()
            call.cancel()
        return 0.0 if time.monotonic() >= until else self._word_seconds()

    def _taken(self, taking: asyncio.Task[None]) -> None:
        """Its end is news; if it failed, whoever waits for it is told, and nobody may."""
        if not taking.cancelled():
            taking.exception()
        self._worker.changed.set()

    async def _take(self, responses: AsyncIterable[pb.OfferResponse]) -> None:
        async for response in responses:
            failpoint("generator.offer.granted")
            self._begin(response.grants)

    def _begin(self, grants: Iterable[pb.Grant]) -> None:
        for grant in grants:
            offered_at = self._left.pop(grant.intent_id, -float("inf"))
            # Its intent was recorded after that: it had been offered for so long by then.
            self._worker.take([grant], min(offered_at + grant.offered_seconds, time.monotonic()))
        self._set_left(self._left)
        if len(self._left) <= self._room() // 2:
            self._worker.changed.set()  # more can be held out

    async def _lost(self, error: Exception) -> None:
        """Takes what was begun in slots of which jobs has said nothing, once it begins nothing more in them."""
        if not isinstance(error, grpc.aio.AioRpcError):
            log.error("offer.lost", slots=len(self._left), exc_info=error)
        else:
            log.info("offer.lost", slots=len(self._left), code=error.code().name, details=error.details())
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:  # a jobs service of the version before, which has begun nothing
                return
        intent_ids = list(self._left)
        if not intent_ids:
            return  # a claim without any would be one of whatever is due
        await asyncio.sleep(self._spoken_at + self._leash.timing.heartbeat_seconds * SILENT - time.monotonic())
        try:
            async for attempt in stamina.retry_context(
                on=self._may_wait, attempts=None, timeout=self._leash.timing.lease_seconds, wait_max=1.0
            ):
                with attempt:
                    asked_at, no_creates = time.monotonic(), not self._possible()
                    grants = await self._jobs.claim([], len(intent_ids), intent_ids, no_creates=no_creates, timeout=END_SECONDS)
                    self._worker.take(grants, asked_at)
        except grpc.aio.AioRpcError as failed:  # what was begun is looked up once its lease has expired
            log.warning("claim.failed", code=failed.code().name, details=failed.details(), slots=len(intent_ids))

    def _may_wait(self, error: Exception) -> bool:
        return may_succeed_later(error) and not self._leash.draining

    def _possible(self) -> bool:
        return self._leash.tight() and not self._leash.draining and self._bucket.usable.is_set()

    def _room(self) -> int:
        """How many slots to hold out in all: half of those that neither a job nor a claim under way needs."""
        return max(0, min(MOST_SLOTS, (self._worker.free - self._worker.asked + len(self._left)) // 2))

    def _scarce(self) -> bool:
        """Whether slots that are held out are the only ones that are free: what a message names, or what is due, finds none."""
        return bool(self._left) and self._worker.free <= 0

    def _more(self) -> list[str]:
        """Intents for further slots; none while half of them are there."""
        room = self._room()
        return [str(uuid.uuid4()) for _ in range(room - len(self._left))] if len(self._left) <= room // 2 else []

    def _set_left(self, left: dict[str, float]) -> None:
        self._left = left
        self._worker.hold_out(len(left))

    def _word_seconds(self) -> float:
        return self._leash.timing.heartbeat_seconds / WORDS

    async def _wait_out(self, seconds: float) -> None:
        """So long, or until the drain begins."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._leash.draining:
            await self._wait(until - time.monotonic())

    async def _wait(self, seconds: float) -> None:
        """Until something changed with the slots, or the drain began; at most that long."""
        self._worker.changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0.01)):
                await self._worker.changed.wait()
