"""Row q: every hot statement over jobs, explained by PostgreSQL as it runs: with few jobs in the tables, and with a million.

What a statement takes must not grow with the jobs that it has nothing to do with.
"""

import json
import statistics
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import resources
from typing import Any, cast
from uuid import UUID

import asyncpg
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from bench.ours import Ours
from bench.records import Sample
from bench.run import Run
from driver import OUTPUTS, rows_read
from jobs.admission import Admission
from jobs.database import Database
from jobs.keys import Tenant
from jobs.listing import DEFAULT_SIZE, page_query
from jobs.statements import compose
from jobs.store import ClaimCall, NewJob, Report, Store
from jobs.timing import Timing
from mediagen.jobs.v1 import jobs_pb2

SIZES = (1_000, 100_000, 1_000_000)
"""Jobs in the tables: half of them finished, half waiting. No more than WAITING, and no fewer than the first."""

SCANS_MATTER = 100_000
"""From so many jobs on, a sequential scan of GROWING fails the run."""

GROWING = ("jobs", "submissions", "job_events", "idempotency_keys")
"""The tables that grow with the jobs."""

REPEATS = 10
"""How often each statement is explained in a round."""

BATCH, ASKED = 100, 64
"""Jobs of a claim, a report or a heartbeat; and of a create or a read, which come from 64 clients."""

MAX_ATTEMPTS, MAX_WAITING = 4, 100_000
"""As they are where nothing else is set."""


class Explained:
    """In the place of a Database, in a transaction: explains each statement while it runs, undoes it, and runs it as it is."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        """`connection` is to be set as those of the service."""
        self._connection = connection
        self.what = ""
        """The line that the next statements belong to."""
        self.plans: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        """What PostgreSQL has told, by line."""

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """As Database."""
        savepoint = self._connection.transaction()
        await savepoint.start()
        told = await self._connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *arguments)
        await savepoint.rollback()
        self.plans[self.what].append(json.loads(told)[0])
        rows: list[asyncpg.Record] = await self._connection.fetch(sql, *arguments)
        return rows


async def row_q(run: Run) -> None:
    """Milliseconds that PostgreSQL takes for each statement, without its planning, by how many jobs there are."""
    ours = run.rig.ours
    connection = await asyncpg.connect(ours.stack.services.database_url, server_settings={"jit": "off"})  # as Database
    try:
        for jobs in sorted({max(SIZES[0], min(size, run.settings.waiting)) for size in SIZES}):
            run.say(f"row q: {jobs:,} jobs")
            await _fill(ours, jobs)
            for number in range(run.settings.rounds):
                run.say(f"row q: {jobs:,} jobs, round {number + 1} of {run.settings.rounds}")
                await _vacuum(ours)  # what was undone lies about in the tables
                explained = Explained(connection)
                for _ in range(REPEATS):
                    await _undone(connection, explained, await ours.finished_ids(ASKED))
                for what, plans in explained.plans.items():
                    run.book.add("q", f"{what}, {jobs:,} jobs", ours.name, "ms", _sample(plans))
            for what in explained.plans:
                line = run.book.line("q", f"{what}, {jobs:,} jobs", ours.name)
                if jobs >= SCANS_MATTER and line and line.median("seq scans"):
                    ran = line.median("of them run")
                    run.fail(f"row q: {line.what}: it reads a whole table{'' if ran else ', in a branch that was not taken here'}")
    finally:
        await connection.close()
        await ours.clean()


async def _fill(ours: Ours, jobs: int) -> None:
    """Half of them finished, each with its key and what a webhook has said of it, half waiting."""
    await ours.connection.execute("TRUNCATE jobs, submissions, job_events, idempotency_keys, provider_inbox")
    await ours.fill("succeeded", jobs // 2)
    await ours.fill("queued", jobs - jobs // 2)
    await ours.connection.execute(
        "INSERT INTO idempotency_keys (tenant_id, key, request_sha256, job_id) "
        "SELECT tenant_id, 'key of ' || id, fingerprint, id FROM jobs WHERE state = 'succeeded'"
    )
    await ours.connection.execute(
        "INSERT INTO provider_inbox (webhook_id, intent_id, prediction_id, ended, processed_at) "
        "SELECT 'end of ' || intent_id, intent_id, prediction_id, true, now() FROM submissions"
    )


async def _vacuum(ours: Ours) -> None:
    for table in (*GROWING, "provider_inbox"):
        await ours.connection.execute(f"VACUUM (ANALYZE) {table}")


async def _undone(connection: asyncpg.Connection, explained: Explained, finished: Sequence[str]) -> None:
    """Explains every statement once, and leaves the tables as they were."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        row = await connection.fetchrow("SELECT id, name, signing_secret, max_waiting FROM tenants WHERE name = 'tenant-0'")
        await _asked(explained, Tenant(*row), [UUID(job_id) for job_id in finished])
        await _worked(explained)
    finally:
        await transaction.rollback()


async def _asked(explained: Explained, tenant: Tenant, finished: Sequence[UUID]) -> None:
    """What clients ask for."""
    database = cast(Database, explained)
    store = Store(database, Timing(), max_attempts=MAX_ATTEMPTS, time_scale=1.0)
    explained.what = "count of a tenant's waiting jobs"
    await Admission(database, MAX_WAITING).admit({tenant: 1})
    explained.what = f"create of {ASKED}"
    assert len(await store.create([_new(tenant.id) for _ in range(ASKED)], rung=0)) == ASKED
    explained.what = f"known keys of {ASKED}"
    assert len(await store.known_keys([(tenant.id, f"key of {job_id}") for job_id in finished])) == ASKED
    explained.what = f"get of {ASKED}"
    assert len(await store.get([(tenant.id, job_id) for job_id in finished])) == ASKED
    for explained.what, statuses in (
        (f"list of {DEFAULT_SIZE}", []),
        (f"list of {DEFAULT_SIZE} of a status", [jobs_pb2.JOB_STATUS_COMPLETED]),
    ):
        query = page_query(tenant, jobs_pb2.ListJobsRequest(statuses=statuses), None, DEFAULT_SIZE + 1)
        compiled = query.compile(dialect=PGDialect_asyncpg())
        values = [compiled.params[name] for name in compiled.positiontup or ()]
        assert len(await explained.fetch(str(compiled), *values)) == DEFAULT_SIZE + 1


def _new(tenant: UUID) -> NewJob:
    job_id = uuid.uuid4()
    model, parameters = "black-forest-labs/flux-schnell", '{"seed": 1234567, "aspect_ratio": "16:9"}'
    return NewJob(job_id, tenant, f"key of {job_id}", b"1", "a lighthouse", model, parameters, "{}", 0, 86400.0, "request", None)


async def _worked(explained: Explained) -> None:
    """What the relay, the sweeper and a worker ask for on a job's way."""
    timing, worker = Timing(), uuid.uuid4()
    store = Store(cast(Database, explained), timing, max_attempts=MAX_ATTEMPTS, time_scale=1.0)
    statements, sql = compose(timing, time_scale=1.0), resources.files("jobs").joinpath("sql")
    explained.what = "note of a worker"
    await store.note_workers([(worker, 500, 500, False, 100, False)])
    explained.what = f"claim of {BATCH} that are due"
    intents = [uuid.uuid4() for _ in range(BATCH)]
    assert len(await store.claim_due(worker, BATCH, False, intents)) >= BATCH - 1  # the relay may be looking at the first one
    explained.what = "ring"
    _, _, rung = await store.ring()
    explained.what = f"claim of {BATCH}"
    named, intents = tuple(UUID(ring.job_id) for ring in rung[:BATCH]), [uuid.uuid4() for _ in range(BATCH)]
    [claimed] = await store.claim([ClaimCall(worker, named, BATCH, False, tuple(intents))])
    assert len(claimed) == BATCH
    explained.what = f"claim of {BATCH} again"
    assert len(await explained.fetch(statements.claimed_before, [worker] * BATCH, list(named), intents)) == BATCH
    explained.what = f"heartbeat of {BATCH}"
    await store.heartbeat([(worker, row["job_id"], row["epoch"], None, None) for row in claimed])
    for verb, statement in statements.sweeps.items():
        explained.what = f"sweep: {verb}"
        await explained.fetch(statement)
    intents = [row["intent_id"] for row in claimed]
    await _reported(explained, store, list(_reports("created", worker, claimed, intents)))
    explained.what = f"note of {BATCH} webhooks"
    names = [str(intent) for intent in intents]
    await explained.fetch(sql.joinpath("note.sql").read_text(), names, intents, names, [True] * BATCH, 20)
    explained.what = f"inbox of {BATCH}"
    assert len(await explained.fetch(sql.joinpath("inbox.sql").read_text(), [worker], 2 * timing.poll)) == BATCH
    await _reported(explained, store, list(_reports("complete", worker, claimed, intents)))


def _reports(verb: str, worker: UUID, claimed: Sequence[asyncpg.Record], intents: Sequence[UUID]) -> Iterator[Report]:
    """The ids of predictions are those of their intents."""
    outputs = OUTPUTS if verb == "complete" else None
    for row, intent in zip(claimed, intents, strict=True):
        yield Report(row["job_id"], verb, str(worker), worker, row["epoch"], intent, str(intent), outputs=outputs)


async def _reported(explained: Explained, store: Store, reports: Sequence[Report]) -> None:
    explained.what = f"{reports[0].verb} of {len(reports)}"
    outcomes: list[Any] = list(await store.transition(reports))
    assert {outcome["result"] for outcome in outcomes} == {"ok"}, outcomes[:1]


def _sample(plans: Sequence[dict[str, Any]]) -> Sample:
    """The median of what PostgreSQL took; of the plan's top node the pages, of all nodes the rows of jobs."""
    counts = {"buffers": _buffers, "rows read": rows_read, "seq scans": _scans, "of them run": partial(_scans, only_run=True)}
    return Sample(
        statistics.median(plan["Execution Time"] for plan in plans),
        counts={name: statistics.median(count(plan["Plan"]) for plan in plans) for name, count in counts.items()},
    )


def _buffers(node: dict[str, Any]) -> int:
    return int(node["Shared Hit Blocks"] + node["Shared Read Blocks"])


def _scans(node: dict[str, Any], *, only_run: bool = False) -> int:
    """How many nodes read a whole table of GROWING, or would if a row of another kind came their way."""
    own = node["Node Type"] == "Seq Scan" and node["Relation Name"] in GROWING and not (only_run and not node["Actual Loops"])
    return int(own) + sum(_scans(child, only_run=only_run) for child in node.get("Plans", ()))
