"""Drives the store as the services do, one job at a time: brings a job into a state, applies a verb, reads what is there."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from jobs.database import Database
from jobs.lanes import set_rates
from jobs.states import State
from jobs.store import ClaimCall, NewJob, Report, Store
from jobs.timing import Timing

OUTPUTS = '[{"index": 0, "object_key": "out/a.png", "content_type": "image/png", "size": 3, "sha256": "00", "value": ""}]'


class Driver:
    """A store on a database of its own, with one tenant and one worker."""

    def __init__(self, database: Database, store: Store, tenant: UUID) -> None:
        self.database = database
        self.store = store
        self.tenant = tenant
        self.worker = uuid4()

    async def add(self, tenant: UUID | None = None, **fields: Any):
        """Accepts a job, due at once, and returns its id; the fields are those of `new`."""
        job = self.new(tenant, **fields)
        assert job.id in await self.store.create([job], rung=0)
        return job.id

    def new(
        self,
        tenant: UUID | None = None,
        key: str = "",
        prompt: str = "a fox",
        deadline: float = 1000,
        priority: int = 0,
        job_id: UUID | None = None,
        traceparent: str | None = None,
    ) -> NewJob:
        job_id, tenant = job_id or uuid4(), tenant or self.tenant
        return NewJob(job_id, tenant, key, b"1", prompt, "a/b", "{}", "{}", priority, deadline, "req-1", traceparent)

    async def add_tenant(self, name: str) -> UUID:
        tenant = uuid4()
        await self.database.fetch("INSERT INTO tenants (id, name, signing_secret) VALUES ($1, $2, 'secret')", tenant, name)
        return tenant

    async def fill(self, jobs: int) -> None:
        """So many waiting jobs, accepted one second after another up to now."""
        await self.database.fetch(
            "INSERT INTO jobs (id, tenant_id, prompt, model, parameters, request, fingerprint, max_attempts, deadline_at, "
            "next_dispatch_at, created_at) SELECT gen_random_uuid(), $1, 'p', 'a/b', '{}', '{}', 'x', 4, now() + interval '1 d', "
            "now(), now() - make_interval(secs => n) FROM generate_series(1, $2::int) n",
            self.tenant,
            jobs,
        )
        await self.database.fetch("ANALYZE jobs")

    async def row(self, job_id: UUID):
        return (await self.database.fetch("SELECT *, outputs::text AS outputs_text FROM jobs WHERE id = $1", job_id))[0]

    async def set(self, job_id: UUID, assignments: str) -> None:
        """Moves a job's times, as if time had passed."""
        await self.database.fetch(f"UPDATE jobs SET {assignments} WHERE id = $1", job_id)

    async def events(self, job_id: UUID):
        return await self.database.fetch("SELECT * FROM job_events WHERE job_id = $1 ORDER BY version", job_id)

    async def submissions(self, job_id: UUID):
        return await self.database.fetch("SELECT * FROM submissions WHERE job_id = $1 ORDER BY created_at", job_id)

    async def begun_at(self, job_id: UUID) -> int:
        """When the job's last look-up began, as its worker is told."""
        sql = "SELECT (extract(epoch FROM lookup_begun_at) * 1000000)::bigint AS at FROM jobs WHERE id = $1"
        return (await self.database.fetch(sql, job_id))[0]["at"]

    async def claim(self, job_id: UUID, worker: UUID | None = None, intent_id: UUID | None = None):
        """Claims one job, with an intent or without; None where it was not granted."""
        intents = (intent_id,) if intent_id else ()
        granted = (await self.store.claim([ClaimCall(worker or self.worker, (job_id,), 1, False, intents)]))[0]
        return granted[0] if granted else None

    async def apply(self, job_id: UUID, verb: str, **fields: object):
        """Applies a verb with what the row shows: its epoch, its intent, its prediction, unless told otherwise."""
        row = await self.row(job_id)
        shown = dict(
            worker=self.worker, epoch=row["epoch"], intent_id=row["intent_id"] or uuid4(), prediction_ids=row["prediction_id"]
        )
        if verb in ("created", "found") and "prediction_ids" not in fields:
            shown["prediction_ids"] = f"prediction-{job_id}-{row['attempt']}"
        if verb == "complete":
            shown["outputs"] = OUTPUTS
        outcome = (await self.store.transition([Report(job_id, verb, actor="test", **{**shown, **fields})]))[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def reach(self, state: State, **options) -> UUID:
        """A new job in this state; one that may be leased is."""
        job_id = await self.add(**options)
        if state is State.QUEUED:
            return job_id
        if state is State.CANCELED:
            await self.apply(job_id, "cancel")
            return job_id
        assert await self.claim(job_id)
        path = {
            State.CLAIMED: [],
            State.SUBMITTING: ["intend"],
            State.SUBMITTED: ["intend", "created"],
            State.UNKNOWN: ["intend", "lost"],
            State.SUCCEEDED: ["intend", "created", "complete"],
            State.FAILED: ["intend", "created", "fail"],
        }
        for verb in path[state]:
            assert (await self.apply(job_id, verb))["result"] == "ok", verb
        if state is State.UNKNOWN:
            assert await self.claim(job_id)  # a look-up holds it
        return job_id


@asynccontextmanager
async def driving(url: str, creates_per_minute: int = 0, time_scale: float = 1.0, max_attempts: int = 4):
    """A driver on this database, closed in the end."""
    database = Database(url, pool_size=4)
    try:
        await set_rates(database.engine, creates_per_minute, 3000)
        store = Store(database, Timing().scaled(time_scale), max_attempts=max_attempts, time_scale=time_scale)
        driver = Driver(database, store, uuid4())
        await database.fetch("INSERT INTO tenants (id, name, signing_secret) VALUES ($1, 'main', 'secret')", driver.tenant)
        yield driver
    finally:
        await asyncio.shield(database.close())


def rows_read(node: dict) -> int:
    """How many rows of `jobs` a plan has read, kept or not."""
    own = node["Actual Rows"] + node.get("Rows Removed by Filter", 0) if node.get("Relation Name") == "jobs" else 0
    return int(own * node["Actual Loops"]) + sum(rows_read(child) for child in node.get("Plans", []))
