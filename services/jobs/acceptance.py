"""Accepting jobs: those that come together are committed together, and each caller is answered after the commit."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import grpc
import structlog

from chassis import tracing
from chassis.batching import Batcher
from chassis.errors import AppError, FieldViolation, invalid_argument, unavailable
from chassis.failpoints import failpoint
from jobs import grants, metrics
from jobs.admission import Admission, too_many_waiting
from jobs.bell import Ring
from jobs.keys import Tenant
from jobs.offers import Offers, Slot
from jobs.relay import Relay
from jobs.states import STATUS, State
from jobs.store import NewJob, Store
from jobs.timing import Timing

log = structlog.get_logger()

ACCEPT_PACE_SECONDS = 0.005
"""From one commit of new jobs to the next where they come all the time, unless enough wait by then. What was accepted together is
told of, claimed and reported together as well. It is half of what reports keep, as each job begins that much later. Tried by turns,
p99 to start was 9 to 13 ms by it and 14 to 18 by the whole at 225 jobs a second, at the same CPU; at 320 a second 15 and 20 ms, and
a job took an eighth more CPU."""


@dataclass(frozen=True)
class Accepted:
    """A job that is committed: the one asked for, or the one that its key had made before."""

    job_id: UUID
    row: Any = None
    """The new job as it was accepted, in a row of sql/get.sql; None where its key was known."""


NOT_BEGUN = {"state": State.QUEUED, "status": STATUS[State.QUEUED], "version": 1, "started_at": None}
"""What the answer to a request shows of a job that was begun in the same commit: the job as it was accepted, as of every other."""


class Acceptance:
    """Turns concurrent requests into few commits."""

    def __init__(self, store: Store, relay: Relay, offers: Offers, admission: Admission, timing: Timing) -> None:
        """Two commits may be under way at once: one writes while the other collects."""
        self._store = store
        self._relay = relay
        self._offers = offers
        self._admission = admission
        self._timing = timing
        self._batcher: Batcher[tuple[Tenant, NewJob], Accepted] = Batcher(self._flush, limit=256, lanes=2, pace=ACCEPT_PACE_SECONDS)

    async def accept(self, tenant: Tenant, job: NewJob) -> Accepted:
        """Commits the job and returns it. Raises RESOURCE_EXHAUSTED past the tenant's cap, ALREADY_EXISTS for a key that came with
        another request, UNAVAILABLE where the database is away."""
        return await self._batcher.submit((tenant, job))

    async def _flush(self, items: list[tuple[Tenant, NewJob]]) -> Sequence[Accepted | Exception]:
        wanted, tenants = Counter(tenant.id for tenant, _ in items), {tenant.id: tenant for tenant, _ in items}
        room = await self._admission.admit({tenants[tenant_id]: jobs for tenant_id, jobs in wanted.items()})
        admitted: list[tuple[Tenant, NewJob]] = []
        refused: list[tuple[Tenant, NewJob]] = []
        for tenant, job in items:
            room[tenant.id] -= 1
            (admitted if room[tenant.id] >= 0 else refused).append((tenant, job))
        outcomes: dict[UUID, Accepted | Exception] = {job.id: too_many_waiting(tenant) for tenant, job in refused}
        outcomes |= await self._known([job for _, job in refused])  # a repeated request is answered even past the cap
        if admitted:
            outcomes |= await self._commit(admitted)
        return [outcomes.get(job.id) or unavailable("The job was not accepted; try again.") for _, job in items]

    async def _commit(self, items: list[tuple[Tenant, NewJob]]) -> dict[UUID, Accepted | Exception]:
        try:
            outcomes = await self._insert(items)
        except asyncpg.DataError:
            if len(items) > 1:  # one of them is not what PostgreSQL takes: the others shall not suffer for it
                return {key: outcome for item in items for key, outcome in (await self._commit([item])).items()}
            wrong = FieldViolation(
                "parameters", "must be JSON that PostgreSQL can keep: no lone surrogates, no numbers beyond its range"
            )
            return {items[0][1].id: invalid_argument([wrong])}
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name != "submissions_pkey":
                raise
            # A worker claimed with an intent that it held out: the offers of all slots are lost now.
            return await self._commit(items)
        metrics.accepted.inc(len(outcomes))
        metrics.accept_batch.observe(len(outcomes))
        late = [job for _, job in items if job.id not in outcomes]  # another call with the same key was faster
        return outcomes | (await self._known(late) if late else {})

    async def _insert(self, items: list[tuple[Tenant, NewJob]]) -> dict[UUID, Accepted | Exception]:
        """Commits the jobs: within the credit the first are begun in slots held out, the next rung for; the rest is due."""
        jobs = [job for _, job in items]
        credit = self._relay.take_credit(len(jobs))
        with self._offers.take(credit.jobs) as slots:
            rung = jobs[len(slots) : credit.jobs] if self._relay.heard else []
            failpoint("jobs.create.received")
            began = time.monotonic()
            try:
                begins = [(slot.worker, slot.intent_id) for slot in slots]
                rows = await self._store.create(jobs, len(slots) + len(rung), begins)
            except asyncpg.DataError:
                for slot in slots:
                    slot.offer.unused(slot)
                raise
            failpoint("jobs.create.committed")
            for job in jobs:
                if job.id in rows:
                    log.info("job.accepted", tenant_id=str(job.tenant_id), **_ids(job))
            begun = self._begin(items, slots, rows, began)
        rings = [Ring(str(job.id), job.request_id or "", job.traceparent or "") for job in rung if job.id in rows]
        self._relay.ring(rings)
        if len(rows) > len(begun) + len(rings):
            self._relay.wake_for_more()
        else:
            self._relay.return_credit(credit, credit.jobs - len(rings))
        return {job_id: Accepted(job_id, {**row, **NOT_BEGUN} if job_id in begun else row) for job_id, row in rows.items()}

    def _begin(
        self, items: list[tuple[Tenant, NewJob]], slots: list[Slot], rows: dict[UUID, asyncpg.Record], began: float
    ) -> set[UUID]:
        """Tells workers of the jobs that were begun in their slots, by a statement that began at `began`. Returns these jobs."""
        begun = set()
        for (tenant, job), slot in zip(items, slots, strict=False):
            row = rows.get(job.id)
            if row is None or row["input"] is None:  # its key was known, or the lane's budget is used up
                slot.offer.unused(slot)
                continue
            grant = grants.begun(job, tenant, row["input"], slot.intent_id, began - slot.heard_at, self._timing)
            slot.offer.granted(slot, grant)
            log.info("job.claimed", epoch=grant.epoch, mode="begin", worker_id=str(slot.worker), **_ids(job))
            begun.add(job.id)
        metrics.count_begun_at_once(len(begun))
        return begun

    async def _known(self, jobs: list[NewJob]) -> dict[UUID, Accepted | Exception]:
        keyed = [job for job in jobs if job.key]
        if not keyed:
            return {}
        rows = await self._store.known_keys([(job.tenant_id, job.key) for job in keyed])
        outcomes: dict[UUID, Accepted | Exception] = {}
        for job in keyed:
            row = rows.get((job.tenant_id, job.key))
            if row is not None:
                same = row["request_sha256"] == job.request_sha256
                outcomes[job.id] = Accepted(row["job_id"]) if same else _reused()
                metrics.replayed.inc(same)
        return outcomes


def _ids(job: NewJob) -> dict[str, str | None]:
    return {"job_id": str(job.id), "request_id": job.request_id, "trace_id": tracing.trace_id(job.traceparent) or None}


def _reused() -> AppError:
    return AppError(
        grpc.StatusCode.ALREADY_EXISTS,
        "IDEMPOTENCY_KEY_REUSED",
        "This Idempotency-Key came with another request before; use a new key for a new job.",
    )
