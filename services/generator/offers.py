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

MOST_SLOTS = 100
"""How many slots are held out at most: as many as one claim asks for, in case it has to find out what became of them."""

OFFER_SECONDS = 240.0
"""How long one offer lasts: less than a connection to jobs does, so that it ends by itself and moves on to another instance."""

WORDS = 5
"""How often jobs is told that this process lives, in a heartbeat's period; it stops believing it after half of one."""

SILENT = 0.75
"""After how much of a heartbeat's period without a word jobs uses no slot any more, and has committed what it used."""

MOST_FAILURES = 10
"""After so many in a row the rest between two offers, which each doubles, does not grow any more."""

CLAIM_SECONDS = 10.0
"""How long one try to find out what became of slots may take, and how long there are further ones."""


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
            if self._possible() and self._room() > 0:
                try:
                    await self._offer()
                    failures = 0
                except grpc.aio.AioRpcError as error:
                    failures = min(failures + 1, MOST_FAILURES)
                    log.info("offer.lost", code=error.code().name, details=error.details(), slots=len(self._left))
                    await self._claim_left()
                self._set_left({})
            # Not all generators should come back in the same moment.
            await self._wait_out(min(60.0, self._word_seconds() * 2**failures) * random.uniform(0.5, 1.0))  # noqa: S311

    async def _offer(self) -> None:
        """One call, until its slots are wanted elsewhere. Raises AioRpcError where it is not known what became of them."""
        until = time.monotonic() + OFFER_SECONDS
        call = self._jobs.offer(OFFER_SECONDS + CLAIM_SECONDS)
        taking = asyncio.create_task(self._take(call))
        taking.add_done_callback(lambda _: self._worker.changed.set())
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
            await call.done_writing()
            await taking
        finally:
            taking.cancel()
            call.cancel()

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

    async def _claim_left(self) -> None:
        """Takes what was begun in slots of which jobs has said nothing, once it begins nothing more in them."""
        await asyncio.sleep(self._spoken_at + self._leash.timing.heartbeat_seconds * SILENT - time.monotonic())
        intent_ids = list(self._left)
        try:
            async for attempt in stamina.retry_context(on=may_succeed_later, attempts=None, timeout=CLAIM_SECONDS, wait_max=1.0):
                with attempt:
                    asked_at, no_creates = time.monotonic(), not self._possible()
                    grants = await self._jobs.claim(
                        [], max(1, len(intent_ids)), intent_ids, no_creates=no_creates, timeout=CLAIM_SECONDS
                    )
                    self._worker.take(grants, asked_at)
        except grpc.aio.AioRpcError as error:  # what was begun is looked up once its lease has expired
            log.warning("claim.failed", code=error.code().name, details=error.details(), slots=len(intent_ids))

    def _possible(self) -> bool:
        return self._leash.tight() and not self._leash.draining and self._bucket.usable.is_set()

    def _room(self) -> int:
        """How many slots to hold out in all: at least as many stay for claims."""
        return min(MOST_SLOTS, (self._worker.free + len(self._left)) // 2)

    def _scarce(self) -> bool:
        """Whether slots that are held out are the only ones that are free: what a message names, or what is due, wants them."""
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
