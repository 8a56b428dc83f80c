"""This process as jobs knows it: a worker with slots, which says in heartbeats that it lives and what it holds."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable

import grpc
import structlog
from opentelemetry.trace import SpanKind

from chassis import tracing
from chassis.failpoints import failpoint
from generator.bucket import Bucket
from generator.create import not_sent
from generator.held import Held
from generator.jobs_client import JobsClient
from generator.leash import Leash
from generator.metrics import heartbeats_failed, jobs_ended, jobs_granted, slots_free, slots_total
from generator.reads import ReadBudget
from mediagen.jobs.v1 import worker_pb2 as pb

log = structlog.get_logger()

FIRST_HEARTBEAT_SECONDS = 5.0
"""How long the first heartbeat may take; it brings the period of the others."""

DRAIN_SECONDS = 30.0
"""How long a drain waits for creates in flight to be answered and recorded."""

LEAVE_SECONDS = 5.0
"""How long a drain tries to give jobs back and to say goodbye. What fails costs others the lease's time, nothing more."""


class Worker:
    """The jobs that this process holds, each with the task that works on it."""

    def __init__(
        self, jobs: JobsClient, leash: Leash, budget: ReadBudget, bucket: Bucket, slots: int, run: Callable[[Held], Awaitable[str]]
    ) -> None:
        """`run` takes one job to its end here and says what became of it."""
        self._jobs = jobs
        self._leash = leash
        self._budget = budget
        self._bucket = bucket
        self._slots = slots
        self._run = run
        self._held: dict[str, Held] = {}
        self._ending: set[Held] = set()
        self._left = False
        self._offered = 0
        self.asked = 0
        """Slots that a claim under way asks jobs for."""
        self.changed = asyncio.Event()
        """Set whenever a slot may have become free, a message came, or the drain began."""
        self.beat = time.monotonic()
        """When the heartbeat loop was last seen alive."""
        slots_total.set(slots)
        slots_free.set(slots)

    @property
    def free(self) -> int:
        """Slots that a claim may ask jobs for now: those that are idle and not held out in an offer."""
        return self._idle - self._offered

    @property
    def _idle(self) -> int:
        """Slots without a job. A job of which only the report is left needs none, unless as many as `slots` wait so."""
        if self._leash.draining:
            return 0
        return self._slots - len(self._held) + min(len(self._ending), self._slots)

    def hold_out(self, slots: int) -> None:
        """As many slots as this are held out in an offer from now on, and no claim may ask for them."""
        self._offered = slots

    def take(self, grants: Iterable[pb.Grant], asked_at: float) -> None:
        """Begins work on what was granted to a claim that was sent at `asked_at`, by the monotonic clock.

        A repeated grant is the answer to a repeated claim, and begun once.
        """
        for grant in grants:
            before = self._held.get(grant.job_id)
            if before is not None and before.grant.epoch >= grant.epoch:
                continue
            if before is not None:
                self._drop(before)
                self._ending.discard(before)
            intended_at = asked_at - max(0.0, grant.intent_age_seconds)
            held = self._held[grant.job_id] = Held(grant, asked_at=intended_at, on_ending=self._ends)
            jobs_granted.labels(_mode(grant)).inc()
            if not self._leash.draining:
                held.task = asyncio.create_task(self._work(held), name=f"job {grant.job_id}")
        slots_free.set(max(0, self._idle))
        if self.free <= 0:
            self.changed.set()  # slots that are held out are needed

    async def heartbeats(self) -> None:
        """Sends heartbeats until the last one of the drain."""
        while not self._left:
            self.beat = began = time.monotonic()
            no_creates = not self._bucket.usable.is_set()
            period = self._leash.timing.heartbeat_seconds or 1.0
            try:
                await self.heartbeat(timeout=max(period, FIRST_HEARTBEAT_SECONDS if not self._leash.heard_at > 0 else 0))
            except grpc.aio.AioRpcError as error:
                heartbeats_failed.inc()
                log.warning("heartbeat.failed", code=error.code().name, details=error.details())
            rest = max(0.0, began + (self._leash.timing.heartbeat_seconds or 1.0) - time.monotonic())
            if no_creates:  # jobs rings for none until it hears that they are possible again
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(rest):
                        await self._bucket.usable.wait()
            else:
                await asyncio.sleep(rest)

    async def heartbeat(self, timeout: float, *, leaving: bool = False) -> None:
        """Sends one heartbeat and does what its answer says. Raises AioRpcError."""
        sent_at = time.monotonic()
        asked = [(held, held.heartbeat_entry()) for held in self._held.values() if not held.settled]
        failpoint("generator.heartbeat.sending")
        response = await self._jobs.heartbeat(
            pb.HeartbeatRequest(
                worker_id=self._jobs.worker_id,
                held=[entry for _, entry in asked],
                slots=self._slots,
                free_slots=max(0, self._idle),
                reads_wanted=self._budget.wanted(),
                no_creates=not self._bucket.usable.is_set(),
                leaving=leaving,
            ),
            timeout,
        )
        failpoint("generator.heartbeat.answered")
        self._leash.heard(sent_at, response.timing)
        self._budget.grant(response.read_allowance, response.timing.heartbeat_seconds)
        lost, cancel = set(response.lost_job_ids), set(response.cancel_job_ids)
        for held, entry in asked:
            held.told(entry)
            if entry.job_id in lost:
                self._drop(held)
            elif entry.job_id in cancel:
                held.ask_end()

    async def drain(self, *asking: asyncio.Task[None]) -> None:
        """Gives back what is held: creates in flight are finished and recorded first, everything else stops at once.

        `asking` are the loops of claims and offers, which end by themselves; what they were granted last is given back too.
        """
        self._leash.drain()
        self.changed.set()
        log.info("drain.began", held=len(self._held))
        failpoint("generator.drain.began")
        tasks = {held.task for held in self._held.values() if held.task is not None}
        for task in tasks:
            task.cancel()
        await asyncio.wait({*tasks, *asking}, timeout=DRAIN_SECONDS)
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await asyncio.gather(*(self._release(held) for held in self._held.values() if not held.settled))
                failpoint("generator.drain.released")
                self._left = True
                await self.heartbeat(LEAVE_SECONDS, leaving=True)
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            log.warning("drain.incomplete", error=type(error).__name__)
        log.info("drain.ended")

    async def _release(self, held: Held) -> None:
        if held.grant.mode == pb.MODE_CREATE and held.grant.intent_id and not held.creating:
            await self._jobs.record_refusal(not_sent(held.grant, held.grant.intent_id, "the generator ends"))
        else:
            await self._jobs.release(pb.Released(job_id=held.grant.job_id, epoch=held.grant.epoch, reason="drain"))
        held.settled = True

    async def _work(self, held: Held) -> None:
        """The task of one job. Its ids are in every log line that is written on its behalf."""
        grant, outcome = held.grant, "dropped"
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(job_id=grant.job_id, epoch=grant.epoch)
        if grant.request_id:
            structlog.contextvars.bind_contextvars(request_id=grant.request_id)
        tracing.receive(grant.traceparent)
        about: tracing.Attributes = {"mediagen.job_id": grant.job_id, "mediagen.epoch": grant.epoch, "mediagen.mode": _mode(grant)}
        try:
            with tracing.span("run job", SpanKind.CONSUMER, about) as span:
                log.info("job.granted", mode=pb.Mode.Name(grant.mode), worker_id=self._jobs.worker_id)
                outcome = await self._run(held)
                span.set_attribute("mediagen.outcome", outcome)
                if held.error:
                    tracing.failed(span, held.error)
        except Exception:
            outcome = "crashed"  # its lease expires, and another worker goes on with it
            log.exception("job.crashed")
        finally:
            jobs_ended.labels(outcome).inc()
            self._ending.discard(held)
            if not self._leash.draining and self._held.get(grant.job_id) is held:
                del self._held[grant.job_id]
                self._freed()

    def _ends(self, held: Held) -> None:
        self._ending.add(held)
        self._freed()

    def _freed(self) -> None:
        slots_free.set(max(0, self._idle))
        self.changed.set()

    def _drop(self, held: Held) -> None:
        """Lets go of a job whose epoch has passed. A create in flight is still recorded, by its intent, before its task ends."""
        if held.settled or held.task is None:
            return
        grant = held.grant
        trace_id = tracing.trace_id(grant.traceparent) or None
        log.info("job.lost", job_id=grant.job_id, epoch=grant.epoch, request_id=grant.request_id, trace_id=trace_id)
        held.settled = True
        held.task.cancel()


def _mode(grant: pb.Grant) -> str:
    return pb.Mode.Name(grant.mode).removeprefix("MODE_").lower()
