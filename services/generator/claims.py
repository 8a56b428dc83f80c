"""Turning bells into jobs: one loop claims what the waiting messages name, or whatever is due where no bell has rung for long."""

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import Sequence

import grpc
import stamina
import structlog

from chassis.failpoints import failpoint
from generator.bells import Bells, Part
from generator.bucket import Bucket
from generator.held import to_its_end
from generator.jobs_client import JobsClient, may_succeed_later
from generator.leash import Leash
from generator.worker import Worker
from mediagen.jobs.v1.worker_pb2 import Grant

log = structlog.get_logger()

CLAIM_SECONDS = 10.0
"""How long one claim may take."""

JOBS_AT_ONCE = 100
"""How many jobs one claim asks for. The answer, with every job's input, must fit into a message."""

PATIENCE = 0.1
"""How long a message of which some jobs found a slot waits for more slots, as a share of the silence: half a second of five. After
that the rest is for whoever has one."""

HOLD_SECONDS = 30.0
"""How long a message is held while jobs cannot be reached; it goes back to the queue after that."""


class Claims:
    """The loop. It ends when the drain begins."""

    def __init__(self, jobs: JobsClient, worker: Worker, bells: Bells, bucket: Bucket, leash: Leash) -> None:
        """`worker` takes what is granted."""
        self._jobs = jobs
        self._worker = worker
        self._bells = bells
        self._bucket = bucket
        self._leash = leash
        self._more_due = False
        self._ask_at = 0.0

    async def run(self) -> None:
        """Claims until the drain. A claim under way is finished even then, so that nothing is granted unheard."""
        await self._leash.held()
        while not self._leash.draining:
            free, silence = min(self._worker.free, JOBS_AT_ONCE), self._leash.timing.silence_seconds
            # On a loose leash nothing may be sent: what was granted would come back at once, and have cost the account's budget.
            if not self._leash.tight():
                await self._hold(silence)
            elif parts := self._bells.take(free, PATIENCE * silence):
                await to_its_end(self._claim_named(parts))
            elif free <= 0:
                await self._hold(min(silence, self._bells.rest_seconds()))
            elif self._more_due or time.monotonic() >= self._ask_at:
                await to_its_end(self._claim_due())
            else:
                await self._wait(self._ask_at - time.monotonic())

    async def _hold(self, seconds: float) -> None:
        """Waits with the messages that are there; those that have waited for long go back, as another generator may have slots."""
        await self._wait(seconds)
        for bell in self._bells.stale(self._leash.timing.silence_seconds):
            await bell.give_back()

    async def _claim_named(self, parts: Sequence[Part]) -> None:
        """Claims these jobs of messages together. Those that wait and are not granted are due again, and will be rung for."""
        bells, job_ids = [part.bell for part in parts], list(dict.fromkeys(job_id for part in parts for job_id in part.job_ids))
        intent_ids = _intents(len(job_ids))  # the same in every try, as any may be the one that counted
        log.debug("bell.heard", jobs=job_ids, requests=[request_id for part in parts for request_id in part.request_ids])
        try:
            async for attempt in stamina.retry_context(on=self._may_wait, attempts=None, timeout=HOLD_SECONDS, wait_max=5.0):
                with attempt:
                    # No more slots than are named: jobs refuses a claim for above a thousand.
                    slots, asked_at = self._slots(len(job_ids)), time.monotonic()
                    grants = await self._claim(job_ids, slots, intent_ids)
                    failpoint("generator.claim.granted")
                    self._worker.take(grants, asked_at)
        except grpc.aio.AioRpcError as error:
            log.warning("claim.failed", code=error.code().name, details=error.details(), jobs=len(job_ids))
            for bell in bells:
                self._bells.let_go(bell)
                # What is wrong once is wrong always: given back it would come again at once, and go round and round.
                await (bell.give_back() if may_succeed_later(error) else bell.refuse())
        else:
            failpoint("generator.claim.taken")
            for bell in bells:
                if bell.done:
                    await bell.acknowledge()
                elif not grants:  # a lane without budget, say: no slot is what its other jobs wait for
                    bell.rests_until = 0.0
        finally:
            self._worker.asked = 0

    async def _claim_due(self) -> None:
        """Claims whatever is due. Where all that was asked for came there is more, and the next free slot asks again at once."""
        slots, asked_at = self._slots(JOBS_AT_ONCE), time.monotonic()
        try:
            grants = await self._claim([], slots, _intents(slots))
        except grpc.aio.AioRpcError as error:
            log.warning("claim.failed", code=error.code().name, details=error.details())
            self._more_due = False
        else:
            self._more_due = len(grants) >= slots
            self._worker.take(grants, asked_at)
        finally:
            self._worker.asked = 0

    def _slots(self, most: int) -> int:
        """How many jobs to ask for. One at least, as jobs wants it: with no slot free that may bring one prediction to follow, and
        once the drain has begun it is given back.
        """
        return min(max(self._worker.free, 1), most)

    async def _claim(self, job_ids: Sequence[str], slots: int, intent_ids: Sequence[str]) -> Sequence[Grant]:
        no_creates = not self._bucket.usable.is_set() or self._worker.free <= 0
        self._worker.asked = slots  # until the claim, with all of its tries, is over
        try:
            return await self._jobs.claim(job_ids, slots, intent_ids, no_creates=no_creates, timeout=CLAIM_SECONDS)
        finally:
            # Not all generators should ask in the same moment.
            self._ask_at = time.monotonic() + self._leash.timing.silence_seconds * random.uniform(0.8, 1.2)  # noqa: S311

    def _may_wait(self, error: Exception) -> bool:
        return may_succeed_later(error) and not self._leash.draining

    async def _wait(self, seconds: float) -> None:
        """Until a message came, a slot became free, or the drain began; at most that long."""
        self._worker.changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0.01)):
                await self._worker.changed.wait()


def _intents(count: int) -> list[str]:
    """Ids for the intents of one claim's creates."""
    return [str(uuid.uuid4()) for _ in range(count)]
