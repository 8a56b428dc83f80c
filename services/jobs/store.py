"""Every statement over jobs that is hot or changes a state. `transition` and `claim` run the one statement that changes states.

Each call is one statement and one transaction, over as many jobs as came together.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import structlog

from jobs import metrics
from jobs.bell import Ring
from jobs.database import Database
from jobs.statements import compose
from jobs.timing import Timing

log = structlog.get_logger()


class Report(NamedTuple):
    """What is asked of one job: a verb of states.py, and what the verb needs. The columns of sql/transition.sql, in their order."""

    job_id: UUID
    verb: str
    actor: str
    worker: UUID | None = None
    epoch: int | None = None
    intent_id: UUID | None = None
    prediction_ids: str | None = None
    """Replicate's ids, comma separated; one except where a look-up found several."""
    delay: float | None = None
    """Seconds to rest at least."""
    code: str | None = None
    message: str | None = None
    http_status: int | None = None
    outputs: str | None = None
    """JSON."""
    predict_seconds: float | None = None
    marked: bool | None = None
    """Whether a look-up found the prediction by the intent in its webhook's URL."""
    lookup_begun_at: int | None = None
    """When the look-up began, as its worker was told: microseconds by the database's clock."""


class ClaimCall(NamedTuple):
    """One worker's claim."""

    worker: UUID
    job_ids: tuple[UUID, ...]
    slots: int
    no_creates: bool
    intent_ids: tuple[UUID, ...] = ()
    """For each job the intent that a create is granted with; none where intents are recorded apart."""


class NewJob(NamedTuple):
    """One job to accept. The first columns of sql/create.sql, in their order."""

    id: UUID
    tenant_id: UUID
    key: str
    request_sha256: bytes
    prompt: str
    model: str
    parameters: str
    request: str
    priority: int
    deadline: float
    request_id: str | None
    traceparent: str | None


HeldJob = tuple[UUID, UUID, int, float | None, str | None]
"""One lease in a heartbeat: worker, job, epoch, progress, Replicate's status."""

NotedWorker = tuple[UUID, int, int, bool, int, bool]
"""What a heartbeat says of its worker: id, slots, free slots, no creates, reads wanted, leaving."""


class Store:
    """The statements of one service instance, with its times and limits written into them."""

    def __init__(self, database: Database, timing: Timing, *, max_attempts: int, time_scale: float) -> None:
        """Composes the statements; `max_attempts` is what jobs are accepted with."""
        self._database = database
        self._timing = timing
        self._max_attempts = max_attempts
        self._sql = compose(timing, time_scale=time_scale)

    async def transition(self, reports: Sequence[Report], *, repeated: bool = False) -> list[asyncpg.Record | Exception]:
        """Applies reports, at most one a job, and returns a row for each, its `result` in it; a job that does not exist is `stale`.

        Where a statement fails as a whole, as when two jobs bind one prediction at once, its reports are applied one by one.
        """
        try:
            rows = await self._database.fetch(self._sql.transition, *[list(column) for column in zip(*reports, strict=True)])
        except asyncpg.PostgresError as error:
            if len(reports) == 1 and not repeated and isinstance(error, asyncpg.UniqueViolationError):
                return await self.transition(reports, repeated=True)  # what it collided with is committed now, and seen this time
            if len(reports) == 1:
                return [error]
            log.warning("store.one_by_one", sqlstate=error.sqlstate, reports=len(reports))
            return [outcome for report in reports for outcome in await self.transition([report])]
        metrics.report_batch.observe(len(reports))
        metrics.count_transitions(rows)
        by_job = {row["job_id"]: row for row in rows}
        return [by_job.get(report.job_id, STALE) for report in reports]

    async def claim(self, calls: Sequence[ClaimCall]) -> list[list[asyncpg.Record]]:
        """Leases named jobs to the workers that named them, in one statement, and returns the granted rows of each call.

        What a worker was granted before and has done nothing with is granted again as it was: the answer may have been lost. With
        an intent it is granted again to the same intent alone. Of two calls that name a job the later one counts: it may be the
        repeat of one that nobody waits for any more. A call whose intents were used before is granted no other jobs by them.
        """
        asked: dict[UUID, int] = {}
        intents: dict[UUID, UUID | None] = {}
        for number, call in enumerate(calls):
            for job_id, intent_id in zip(call.job_ids, call.intent_ids or [None] * len(call.job_ids), strict=True):
                asked[job_id], intents[job_id] = number, intent_id
        of = [calls[number] for number in asked.values()]
        try:
            rows = await self._claimed(
                self._sql.claim_named,
                list(range(len(asked))),
                [call.worker for call in of],
                list(asked),
                [call.slots for call in of],
                [call.no_creates for call in of],
                list(intents.values()),
            )
        except asyncpg.UniqueViolationError as error:
            _used_before(error, len(calls))
            if len(calls) > 1:
                return [granted for call in calls for granted in await self.claim([call])]
            rows = []
        granted: list[list[asyncpg.Record]] = [[] for _ in calls]
        for row in rows:
            granted[asked[row["job_id"]]].append(row)
        if left := asked.keys() - {row["job_id"] for row in rows}:
            workers = [calls[asked[job_id]].worker for job_id in left]
            for row in await self._claimed_before(workers, list(left), [intents[job_id] for job_id in left]):
                granted[asked[row["job_id"]]].append(row)
        return granted

    async def claim_due(self, worker: UUID, slots: int, no_creates: bool, intent_ids: Sequence[UUID] = ()) -> list[asyncpg.Record]:
        """Leases whatever is due, every tenant's first before any tenant's second; creates with one of `slots` intents, or none.

        Where intents were used before, this is the repeat of a claim whose answer was lost, or of an offer: what was begun with
        them is granted again, and the other intents and slots serve for what is due.
        """
        used, begun = await self._begun_by(worker, intent_ids)
        slots -= len(begun)
        if slots <= 0:
            return begun
        left = [intent_id for intent_id in intent_ids if intent_id not in used]
        try:
            granted = await self._claimed(self._sql.claim_due, worker, slots, no_creates, left)
        except asyncpg.UniqueViolationError as error:
            _used_before(error, 1)
            granted = []
        if len(granted) < slots:  # what it repeats may have been committed only now
            used = {row["intent_id"] for row in granted}
            granted += (await self._begun_by(worker, [intent_id for intent_id in left if intent_id not in used]))[1]
        return begun + granted

    async def _claimed(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        rows = await self._database.fetch(statement, *arguments)
        metrics.count_transitions(rows)
        granted = [row for row in rows if row["result"] == "ok"]
        metrics.claim_batch.observe(len(granted))
        return granted

    async def _begun_by(self, worker: UUID, intent_ids: Sequence[UUID]) -> tuple[set[UUID], list[asyncpg.Record]]:
        """Which of these intents were used, and what this worker was granted with them and has done nothing with."""
        if not intent_ids:
            return set(), []
        sql = "SELECT job_id, intent_id FROM unnest((SELECT $1::uuid[])) AS i (intent_id) JOIN submissions USING (intent_id)"
        rows = await self._database.fetch(sql, list(intent_ids))  # unnest and SELECT: as in statements.py
        ids, used = [row["job_id"] for row in rows], [row["intent_id"] for row in rows]
        return set(used), await self._claimed_before([worker] * len(ids), ids, used) if ids else []

    async def _claimed_before(
        self, workers: list[UUID], job_ids: list[UUID], intent_ids: Sequence[UUID | None]
    ) -> list[asyncpg.Record]:
        return await self._database.fetch(self._sql.claimed_before, workers, job_ids, list(intent_ids))

    async def sweep(self) -> dict[str, list[asyncpg.Record]]:
        """Ends what time has ended: leases, deadlines, and look-ups that can find nothing any more. Returns the jobs of each."""
        done = {}
        for verb, statement in self._sql.sweeps.items():
            rows = await self._database.fetch(statement)
            metrics.count_transitions(rows)
            done[verb] = [row for row in rows if row["result"] == "ok"]
        return done

    async def ring(self, *, heard: bool = True) -> tuple[int, bool, list[Ring]]:
        """Marks due jobs as rung; returns how many more may be rung for, whether more are due, and what to ring.

        None are marked where no ring would be `heard`.
        """
        rows = await self._database.fetch(self._sql.ring, heard)
        rung = [Ring(row["id"], row["request_id"], row["traceparent"]) for row in rows if row["id"] is not None]
        return rows[0]["credit"], rows[0]["backlog"], rung

    async def create(
        self, jobs: Sequence[NewJob], rung: int, begun: Sequence[tuple[UUID, UUID]] = ()
    ) -> dict[UUID, asyncpg.Record]:
        """Accepts jobs, the first `rung` of them as rung for, and returns those that were new as `get` would, by id.

        A job whose key was known, or comes twice in this call, is not among them. The first ones are begun instead, by the workers
        and with the intents of `begun`, where the lane lets them; the `input` of those that were is in their rows. The others of
        them are due. Raises UniqueViolationError where an intent was used before.
        """
        columns = [list(column) for column in zip(*jobs, strict=True)]
        marks = [len(begun) <= place < rung for place in range(len(jobs))]
        nobody = [None] * (len(jobs) - len(begun))
        workers, intents = [worker for worker, _ in begun], [intent_id for _, intent_id in begun]
        rows = await self._database.fetch(
            self._sql.create, *columns, marks, [*workers, *nobody], [*intents, *nobody], self._max_attempts
        )
        return {UUID(row["id"]): row for row in rows}

    async def known_keys(self, keys: Sequence[tuple[UUID, str]]) -> dict[tuple[UUID, str], asyncpg.Record]:
        """The job and the request's sha256 that each known key came with."""
        rows = await self._database.fetch(
            "SELECT k.tenant_id, k.key, k.request_sha256, k.job_id "
            "FROM unnest((SELECT $1::uuid[]), (SELECT $2::text[])) AS i (tenant_id, key) "  # as in statements.py
            "JOIN idempotency_keys k USING (tenant_id, key)",
            [tenant for tenant, _ in keys],
            [key for _, key in keys],
        )
        return {(row["tenant_id"], row["key"]): row for row in rows}

    async def get(self, jobs: Sequence[tuple[UUID, UUID]]) -> dict[tuple[UUID, str], asyncpg.Record]:
        """Reads jobs named by (tenant, id), as sql/get.sql shows them; what the tenant does not have is absent."""
        rows = await self._database.fetch(self._sql.get, [tenant for tenant, _ in jobs], [job for _, job in jobs])
        return {(row["tenant_id"], row["id"]): row for row in rows}

    async def heartbeat(self, held: Sequence[HeldJob]) -> list[asyncpg.Record]:
        """Extends the leases that are named; says of each if it is lost, and if the job's end was asked for."""
        if not held:
            return []
        columns = [list(column) for column in zip(*held, strict=True)]
        return await self._database.fetch(self._sql.heartbeat, *columns, self._timing.lease)

    async def note_workers(self, workers: Sequence[NotedWorker]) -> dict[UUID, int]:
        """Notes that these workers live, or leave, and returns each one's read allowance."""
        columns = [list(column) for column in zip(*workers, strict=True)]
        rows = await self._database.fetch(self._sql.workers, *columns, self._timing.lease, self._timing.heartbeat)
        return {row["id"]: row["reads"] for row in rows}


def _used_before(error: asyncpg.UniqueViolationError, calls: int) -> None:
    """Notes that a claim brought an intent that was used before; raises `error` where it is of anything else."""
    if error.constraint_name != "submissions_pkey":
        raise error
    log.warning("store.claim_repeated", calls=calls)


STALE: Any = {"result": "stale", "state": None, "prediction_id": None}
"""What a report of a job that does not exist gets."""
