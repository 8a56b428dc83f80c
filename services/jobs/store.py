"""Every statement over jobs that is hot or changes a state. `transition` and `claim` run the one statement that writes states.

The SQL lies in sql/; each call is one statement and one transaction, over as many jobs as came together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from jobs.database import Database
from jobs.states import TRANSITIONS
from jobs.timing import Timing

log = structlog.get_logger()

MAX_CLAIMS = 8
"""Claims without progress after which a job is stopped: it kills its workers."""

RING_LIMIT = 256
"""How many jobs one tick of the relay rings for."""


@dataclass(frozen=True)
class Report:
    """What is asked of one job: a verb of states.py, and what the verb needs. One column of sql/transition.sql each."""

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


@dataclass(frozen=True)
class ClaimCall:
    """One worker's claim."""

    worker: UUID
    job_ids: tuple[UUID, ...]
    slots: int
    no_creates: bool


@dataclass(frozen=True)
class NewJob:
    """One job to accept."""

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

_TYPES = {
    "job_id": "uuid",
    "verb": "text",
    "actor": "text",
    "worker": "uuid",
    "epoch": "bigint",
    "intent_id": "uuid",
    "prediction_ids": "text",
    "delay": "float8",
    "code": "text",
    "message": "text",
    "http_status": "int",
    "outputs": "jsonb",
    "predict_seconds": "float8",
}
_COLUMNS = [field.name for field in fields(Report)]


def _sql(name: str) -> str:
    return resources.files("jobs").joinpath("sql", f"{name}.sql").read_text()


def _fill(template: str, **values: object) -> str:
    for name, value in values.items():
        template = template.replace("{" + name + "}", str(value))
    return template


def _rules() -> str:
    def literal(value: object) -> str:
        if value is None:
            return "NULL"
        return f"'{value}'" if isinstance(value, str) else str(value)

    rows = []
    for row in TRANSITIONS:
        values = (row.verb, row.source.value, row.target.value, row.fence.value, row.lease.value, row.attempts, row.claims)
        backoff = (float(row.backoff.base), float(row.backoff.factor), float(row.backoff.cap))
        rows.append("(" + ", ".join(literal(value) for value in (*values, *backoff, row.submission)) + ")")
    return ",\n        ".join(rows)


class Store:
    """The statements of one service instance, with its times and limits written into them."""

    def __init__(self, database: Database, timing: Timing, *, max_attempts: int, time_scale: float) -> None:
        """Composes the statements; `max_attempts` is what jobs are accepted with."""
        self._database = database
        self._timing = timing
        self._max_attempts = max_attempts
        transition = _fill(
            _sql("transition"),
            rules=_rules(),
            lease=timing.lease,
            settle=timing.settle,
            lookup_gap=timing.lookup_gap,
            unknown_limit=timing.unknown_limit,
            pause=timing.pause,
            pause_limit=timing.pause_limit,
            time_scale=time_scale,
            max_claims=MAX_CLAIMS,
        )
        columns = ", ".join(f"${n}::{_TYPES[name] if name != 'outputs' else 'text'}[]" for n, name in enumerate(_COLUMNS, 1))
        reported = (
            f"SELECT u.ord, {', '.join('u.' + name + ('::jsonb' if name == 'outputs' else '') for name in _COLUMNS)} "  # noqa: S608
            f"FROM unnest({columns}) WITH ORDINALITY AS u ({', '.join(_COLUMNS)}, ord)"
        )
        self._transition = _fill(transition, before="", input=reported)
        empty = ", ".join(f"NULL::{_TYPES[name]} AS {name}" for name in _COLUMNS[4:])
        claimed = (
            "SELECT g.ord::bigint AS ord, g.job_id, CASE g.state WHEN 'queued' THEN 'claim' WHEN 'submitted' THEN 'attach' "  # noqa: S608
            f"ELSE 'reconcile' END AS verb, g.worker::text AS actor, g.worker, {empty} FROM granted g"
        )
        granted = _sql("granted")
        locked = _fill(_sql("lane"), lock="FOR NO KEY UPDATE")
        self._claim_named = _fill(transition, before=_fill(_sql("claim_named"), lane=locked, granted=granted), input=claimed)
        due = _fill(_sql("due"), limit="$2", unattended="$2", lane=locked)
        self._claim_due = _fill(transition, before=_fill(_sql("claim_due"), due=due, granted=granted), input=claimed)
        swept = ", ".join(f"NULL::{_TYPES[name]} AS {name}" for name in _COLUMNS[3:])
        self._sweep = _fill(
            transition,
            before="",
            input=f"SELECT row_number() OVER () AS ord, s.id AS job_id, $1::text AS verb, 'sweeper' AS actor, {swept} "  # noqa: S608
            "FROM (SELECT id FROM jobs WHERE {where} LIMIT 500 FOR UPDATE SKIP LOCKED) s",
        )
        self._ring = _fill(
            _sql("ring"),
            due=_fill(_sql("due"), limit=RING_LIMIT, unattended=RING_LIMIT, lane=_fill(_sql("lane"), lock="")),
            limit=RING_LIMIT,
            lease=timing.lease,
            ring=timing.ring,
        )
        self._claimed_before = _sql("claimed_before")
        self._create = _sql("create")
        self._get = _sql("get")
        self._heartbeat = _sql("heartbeat")
        self._workers = _sql("workers")

    async def transition(self, reports: Sequence[Report], *, repeated: bool = False) -> list[asyncpg.Record | Exception]:
        """Applies reports, at most one a job, and returns a row for each, its `result` in it; a job that does not exist is `stale`.

        Where a statement fails as a whole, as when two jobs bind one prediction at once, its reports are applied one by one.
        """
        columns = zip(*[[getattr(report, name) for name in _COLUMNS] for report in reports], strict=True)
        try:
            rows = await self._database.fetch(self._transition, *[list(column) for column in columns])
        except asyncpg.PostgresError as error:
            if len(reports) == 1 and not repeated and isinstance(error, asyncpg.UniqueViolationError):
                return await self.transition(reports, repeated=True)  # what it collided with is committed now, and seen this time
            if len(reports) == 1:
                return [error]
            log.warning("store.one_by_one", sqlstate=error.sqlstate, reports=len(reports))
            return [outcome for report in reports for outcome in await self.transition([report])]
        by_job = {row["job_id"]: row for row in rows}
        return [by_job.get(report.job_id, STALE) for report in reports]

    async def claim(self, calls: Sequence[ClaimCall]) -> list[list[asyncpg.Record]]:
        """Leases named jobs to the workers that named them, in one statement, and returns the granted rows of each call.

        What a worker was granted before and has done nothing with is granted again as it was: the answer may have been lost.
        """
        asked: dict[UUID, int] = {}
        for number, call in enumerate(calls):
            for job_id in call.job_ids:
                asked.setdefault(job_id, number)
        ids = list(asked)
        of = [calls[asked[job_id]] for job_id in ids]
        rows = await self._database.fetch(
            self._claim_named,
            list(range(len(ids))),
            [call.worker for call in of],
            ids,
            [call.slots for call in of],
            [call.no_creates for call in of],
        )
        granted: list[list[asyncpg.Record]] = [[] for _ in calls]
        for row in rows:
            if row["result"] == "ok":
                granted[asked[row["job_id"]]].append(row)
        left = set(ids) - {row["job_id"] for rows in granted for row in rows}
        if left:
            again = await self._database.fetch(self._claimed_before, [calls[asked[job_id]].worker for job_id in left], list(left))
            for row in again:
                granted[asked[row["job_id"]]].append(row)
        return granted

    async def claim_due(self, worker: UUID, slots: int, no_creates: bool) -> list[asyncpg.Record]:
        """Leases whatever is due, every tenant's first before any tenant's second."""
        rows = await self._database.fetch(self._claim_due, worker, slots, no_creates)
        return [row for row in rows if row["result"] == "ok"]

    async def sweep(self) -> dict[str, int]:
        """Ends what time has ended: leases, deadlines, and look-ups that can find nothing any more. Returns how many of each."""
        limit = f"now() - make_interval(secs => {self._timing.unknown_limit})"
        done = {}
        for verb, where in (
            ("expire", "lease_worker IS NOT NULL AND lease_until <= now()"),
            ("give_up", "finished_at IS NULL AND cancel_requested_at IS NULL AND deadline_at <= now()"),
            # in these words the partial index over both states serves
            ("outcome_unknown", f"state IN ('submitting', 'unknown') AND state = 'unknown' AND unknown_since <= {limit}"),
        ):
            rows = await self._database.fetch(_fill(self._sweep, where=where), verb)
            done[verb] = sum(row["result"] == "ok" for row in rows)
        return done

    async def ring(self) -> tuple[int, bool, list[tuple[str, str]]]:
        """Marks due jobs as rung; returns how many more may be rung for, whether more are due, and (job id, request id) of each."""
        rows = await self._database.fetch(self._ring)
        rung = [(row["id"], row["request_id"]) for row in rows if row["id"] is not None]
        return rows[0]["credit"], rows[0]["backlog"], rung

    async def create(self, jobs: Sequence[NewJob], rung: int) -> dict[UUID, asyncpg.Record]:
        """Accepts jobs, the first `rung` of them as rung for, and returns the rows of those that were new, by id.

        A job whose key was known, or comes twice in this call, is not among them.
        """
        names = [field.name for field in fields(NewJob)]
        columns = [[getattr(job, name) for job in jobs] for name in names]
        marks = [place < rung for place in range(len(jobs))]
        rows = await self._database.fetch(self._create, *columns, marks, self._max_attempts, self._timing.ring)
        return {row["id"]: row for row in rows}

    async def known_keys(self, keys: Sequence[tuple[UUID, str]]) -> dict[tuple[UUID, str], asyncpg.Record]:
        """The job and the request's sha256 that each known key came with."""
        rows = await self._database.fetch(
            "SELECT k.tenant_id, k.key, k.request_sha256, k.job_id FROM unnest($1::uuid[], $2::text[]) AS i (tenant_id, key) "
            "JOIN idempotency_keys k USING (tenant_id, key)",
            [tenant for tenant, _ in keys],
            [key for _, key in keys],
        )
        return {(row["tenant_id"], row["key"]): row for row in rows}

    async def get(self, jobs: Sequence[tuple[UUID, UUID]]) -> dict[tuple[UUID, str], asyncpg.Record]:
        """Reads jobs named by (tenant, id), as sql/get.sql shows them; what the tenant does not have is absent."""
        rows = await self._database.fetch(self._get, [tenant for tenant, _ in jobs], [job for _, job in jobs])
        return {(row["tenant_id"], row["id"]): row for row in rows}

    async def heartbeat(self, held: Sequence[HeldJob]) -> list[asyncpg.Record]:
        """Extends the leases that are named; says of each if it is lost, and if the job's end was asked for."""
        if not held:
            return []
        columns = [list(column) for column in zip(*held, strict=True)]
        return await self._database.fetch(self._heartbeat, *columns, self._timing.lease)

    async def note_workers(self, workers: Sequence[NotedWorker]) -> dict[UUID, int]:
        """Notes that these workers live, or leave, and returns each one's read allowance."""
        columns = [list(column) for column in zip(*workers, strict=True)]
        rows = await self._database.fetch(self._workers, *columns, self._timing.lease, self._timing.heartbeat)
        return {row["id"]: row["reads"] for row in rows}

    async def forget(self, idempotency_seconds: float) -> None:
        """Deletes idempotency keys past their time, and workers that are gone."""
        await self._database.fetch(
            "DELETE FROM idempotency_keys WHERE (tenant_id, key) IN (SELECT tenant_id, key FROM idempotency_keys "
            "WHERE created_at < now() - make_interval(secs => $1) ORDER BY created_at LIMIT 10000)",
            idempotency_seconds,
        )
        await self._database.fetch(
            "DELETE FROM workers WHERE heartbeat_at < now() - make_interval(secs => $1)", self._timing.lease * 10
        )


STALE: Any = {"result": "stale", "state": None, "prediction_id": None}
"""What a report of a job that does not exist gets."""
