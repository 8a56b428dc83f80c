"""Accepting jobs: those that come together are committed together, and each caller is answered after the commit."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import grpc
import structlog

from chassis import tracing
from chassis.batching import PACE_SECONDS, Batcher
from chassis.errors import AppError, FieldViolation, invalid_argument, unavailable
from chassis.failpoints import failpoint
from jobs import metrics
from jobs.admission import Admission, too_many_waiting
from jobs.bell import Ring
from jobs.keys import Tenant
from jobs.relay import Relay
from jobs.store import NewJob, Store

log = structlog.get_logger()


@dataclass(frozen=True)
class Accepted:
    """A job that is committed: the one asked for, or the one that its key had made before."""

    job_id: UUID
    row: asyncpg.Record | None = None
    """The new job, in a row of sql/get.sql; None where its key was known."""


class Acceptance:
    """Turns concurrent requests into few commits."""

    def __init__(self, store: Store, relay: Relay, admission: Admission) -> None:
        """Two commits may be under way at once: one writes while the other collects."""
        self._store = store
        self._relay = relay
        self._admission = admission
        self._batcher: Batcher[tuple[Tenant, NewJob], Accepted] = Batcher(self._flush, limit=256, lanes=2, pace=PACE_SECONDS)

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
            outcomes |= await self._commit([job for _, job in admitted])
        return [outcomes.get(job.id) or unavailable("The job was not accepted; try again.") for _, job in items]

    async def _commit(self, jobs: list[NewJob]) -> dict[UUID, Accepted | Exception]:
        rung = self._relay.take_credit(len(jobs))
        failpoint("jobs.create.received")
        try:
            accepted = await self._store.create(jobs, rung)
        except asyncpg.DataError:
            if len(jobs) > 1:  # one of them is not what PostgreSQL takes: the others shall not suffer for it
                return {key: outcome for job in jobs for key, outcome in (await self._commit([job])).items()}
            wrong = FieldViolation(
                "parameters", "must be JSON that PostgreSQL can keep: no lone surrogates, no numbers beyond its range"
            )
            return {jobs[0].id: invalid_argument([wrong])}
        failpoint("jobs.create.committed")
        self._relay.ring(
            [Ring(str(job.id), job.request_id or "", job.traceparent or "") for job in jobs[:rung] if job.id in accepted]
        )
        if rung < len(jobs):
            self._relay.wake_for_more()
        for job in jobs:
            if job.id in accepted:
                log.info(
                    "job.accepted",
                    job_id=str(job.id),
                    request_id=job.request_id,
                    trace_id=tracing.trace_id(job.traceparent) or None,
                    tenant_id=str(job.tenant_id),
                )
        metrics.accepted.inc(len(accepted))
        metrics.accept_batch.observe(len(accepted))
        outcomes: dict[UUID, Accepted | Exception] = {job_id: Accepted(job_id, row) for job_id, row in accepted.items()}
        late = [job for job in jobs if job.id not in accepted]  # another call with the same key was faster
        return outcomes | (await self._known(late) if late else {})

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


def _reused() -> AppError:
    return AppError(
        grpc.StatusCode.ALREADY_EXISTS,
        "IDEMPOTENCY_KEY_REUSED",
        "This Idempotency-Key came with another request before; use a new key for a new job.",
    )
