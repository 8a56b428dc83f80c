"""mediagen as it is measured: gateway, jobs, generators, PostgreSQL with fsync, RabbitMQ; keys, events, logs, metrics as ever."""

import asyncio
import os
import re
import sys
from collections import defaultdict
from pathlib import Path

import asyncpg

from bench import starts
from bench.subjects import BASE, Workers
from bench.wire import Asking, Request
from jobs.database import Database
from jobs.keys import create_key
from part import Part
from stack import Stack

TENANTS = 64

SETTINGS = {
    # The account's budget and a tenant's cap are what an operator gives; here they would be what is measured.
    **{f"{service}_{calls}_PER_MINUTE": "0" for service in ("JOBS", "SIMULATOR") for calls in ("CREATES", "READS")},
    "JOBS_MAX_WAITING": "10000000",
    "SIMULATOR_PREDICT_SECONDS": "0",
    "SIMULATOR_QUEUE_SECONDS": "0",
    "GATEWAY_REPLICATE_WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
    "SIMULATOR_WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
}

_ID = "(lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - {count} + n), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid"  # noqa: E501
"""A UUIDv7 of a millisecond in the past."""

_COUNTED = {
    "mediagen_jobs_accepted_total": "accepted",
    "mediagen_jobs_finished_total": "finished",
    "mediagen_jobs_deleted_total": "deleted",
    "mediagen_db_statement_seconds_count": "statements",
    "mediagen_rabbitmq_published_total": "messages",
    "grpc_server_handled_total": "rpcs",
    "mediagen_jobs_accept_batch_count": "accept_commits",
    "mediagen_jobs_report_batch_count": "report_commits",
    "mediagen_jobs_report_batch_sum": "reports",
    "mediagen_jobs_claim_batch_count": "claims",
}
_SERIES = re.compile(r"^(\w+)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


class Ours:
    """One running system."""

    name = "mediagen"

    def __init__(self, stack: Stack, tests: Path) -> None:
        """`stack` was started without generators; `tests` is where the doubles of provider and bucket are imported from."""
        self.stack = stack
        self.port = stack.port("GATEWAY_PORT")
        self.further_ports: list[int] = []
        self.keys: list[str] = []
        self.starts = stack.state / "starts"
        self._tests = tests
        self._workers: Workers | None = None
        self._jobs = 1
        self._metrics = Asking(stack.port("JOBS_METRICS_PORT"))
        self.connection: asyncpg.Connection
        """To its database, for questions that no client asks."""

    async def open(self) -> None:
        """Makes the keys, and connects."""
        self.connection = await asyncpg.connect(self.stack.services.database_url)
        database = Database(self.stack.services.database_url, pool_size=2)
        try:
            self.keys = [await create_key(database.engine, f"tenant-{number}", "bench") for number in range(TENANTS)]
        finally:
            await database.close()

    def owns(self, process: str) -> bool:
        """As Subject."""
        return process.partition("-")[0] in ("gateway", "jobs", "generator", "postgresql", "rabbitmq")

    async def grow(self, gateways: int, jobs: int) -> None:
        """Lets so many gateways and jobs services run from now on, and no worker; with one of each it is as it was begun.

        Gateways and generators are wired to the jobs services in turn.
        """
        await self.working(None)
        for name in [name for name in self.stack.parts if re.match(r"(gateway|jobs)-\d", name)][::-1]:  # gateways use jobs
            self.stack.stop(name)
            del self.stack.parts[name]
        self._jobs = jobs
        further = [self.stack.services.jobs(number) for number in range(2, jobs + 1)]
        for number in range(2, gateways + 1):
            part = self.stack.services.gateway(number)
            part.environment["GATEWAY_JOBS_ADDRESS"] = self._address_of_jobs(number, "PORT")
            further.append(part)
        for part in further:
            self.stack.parts[part.name] = part
            part.start()
        for part in further:
            part.wait()
        self.further_ports = [self.stack.port(f"GATEWAY_{number}_PORT") for number in range(2, gateways + 1)]

    def _address_of_jobs(self, number: int, port: str) -> str:
        """Where the gateway or generator of that number finds its jobs service."""
        of = (number - 1) % self._jobs + 1
        return f"127.0.0.1:{self.stack.port(f'JOBS_{port}' if of == 1 else f'JOBS_{of}_{port}')}"

    async def keeping(self, retention: float | None) -> None:
        """Lets finished jobs be kept for `retention` seconds from now on; with None for ever, as in the beginning. Gateway and jobs
        service are new ones then, and no worker runs."""
        await self.working(None)
        jobs, gateway = self.stack.services.jobs(), self.stack.services.gateway()
        if retention is not None:
            jobs.command = [sys.executable, "-m", "bench.forgetful", "serve"]
            jobs.environment |= {
                "PYTHONPATH": os.pathsep.join([jobs.environment["PYTHONPATH"], str(self._tests)]),
                "BENCH_RETENTION_SECONDS": str(retention),
            }
        for part in (gateway, jobs):  # gateways use jobs
            self.stack.stop(part.name)
        for part in (jobs, gateway):
            self.stack.parts[part.name] = part
            self.stack.start_part(part.name)
        self._metrics.close()
        self._metrics = Asking(self.stack.port("JOBS_METRICS_PORT"))

    async def working(self, workers: Workers | None) -> None:
        """As Subject."""
        if workers == self._workers:
            return
        wanted = [self._generator(number + 1, workers) for number in range(workers.count)] if workers else []
        for name in [name for name in self.stack.parts if name.startswith("generator-")]:
            self.stack.stop(name)
            del self.stack.parts[name]
        if workers and workers.full_path:
            simulator = self.stack.parts["simulator"]
            simulator.environment["SIMULATOR_PREDICT_SECONDS"] = str(workers.predict_seconds)
            self.stack.start_part("simulator")  # anew where that is another time than before
        for part in wanted:
            self.stack.parts[part.name] = part
            part.start()
        for part in wanted:
            part.wait()
        self._workers = workers

    def _generator(self, number: int, workers: Workers) -> Part:
        part = self.stack.services.generator(number)
        part.environment["GENERATOR_SLOTS"] = str(workers.slots)
        part.environment["GENERATOR_JOBS_ADDRESS"] = self._address_of_jobs(number, "WORKER_PORT")
        if not (workers.full_path and workers.webhooks):
            part.environment.pop("GENERATOR_WEBHOOK_URL", None)
        if not workers.full_path:
            part.command = [sys.executable, "-m", "bench.instant"]
            part.environment |= {
                "PYTHONPATH": os.pathsep.join([part.environment["PYTHONPATH"], str(self._tests)]),
                "BENCH_PREDICT_SECONDS": str(workers.predict_seconds),
                starts.VARIABLE: str(self.starts),
            }
        return part

    async def clean(self) -> None:
        """As Subject. A new plan of every statement follows, so that a warm-up has to."""
        await self.connection.execute("TRUNCATE jobs, submissions, job_events, idempotency_keys, provider_inbox")
        await self.fill("succeeded", BASE)
        for table in ("jobs", "submissions", "job_events", "idempotency_keys"):
            await self.connection.execute(f"VACUUM (ANALYZE) {table}")
        if self.starts.exists():
            os.truncate(self.starts, 0)

    async def fill(self, state: str, count: int) -> None:
        """So many jobs of the first tenant, succeeded or queued, each a millisecond older than the next."""
        done = state == "succeeded"
        outputs = '\'[{"index": 0, "object_key": "out/a.png", "content_type": "image/png", "size": 3, "sha256": "00"}]\'::jsonb'
        await self.connection.execute(
            f"""
            INSERT INTO jobs (id, tenant_id, prompt, model, parameters, request, fingerprint, max_attempts, deadline_at, state,
                attempt, epoch, next_dispatch_at, outputs, created_at, started_at, finished_at)
            SELECT {_ID.format(count=count)}, (SELECT id FROM tenants WHERE name = 'tenant-0'), 'a lighthouse, number ' || n,
                'black-forest-labs/flux-schnell', '{{"seed": 1234567, "aspect_ratio": "16:9"}}', '{{}}', sha256(n::text::bytea), 4,
                now() + interval '1 d', '{state}', {int(done)}, {int(done)}, {"NULL" if done else "now()"},
                {outputs if done else "NULL"}, now() - make_interval(secs => ({count} - n) / 1000.0),
                {"now(), now()" if done else "NULL, NULL"}
            FROM generate_series(1, {count}) n
            """,
            timeout=600,
        )
        if done:
            await self.connection.execute(
                "INSERT INTO submissions (intent_id, job_id, lane, attempt, epoch, fingerprint, state, prediction_id) SELECT "
                "gen_random_uuid(), id, lane, 1, 1, fingerprint, 'succeeded', 'done-' || id FROM jobs WHERE state = 'succeeded'"
            )
            await self.connection.execute(
                "INSERT INTO job_events (job_id, version, to_state, epoch, actor, reason) "
                "SELECT id, n, 'queued', 0, 'client', 'accept' FROM jobs, generate_series(1, 5) n WHERE state = 'succeeded'"
            )

    async def drained(self) -> bool:
        """As Subject."""
        unfinished = "finished_at IS NULL AND cancel_requested_at IS NULL"  # in these words a partial index serves
        if await self.connection.fetchval(f"SELECT EXISTS (SELECT FROM jobs WHERE {unfinished})"):
            return False
        failed = await self.connection.fetch("SELECT error_code, count(*) FROM jobs WHERE state = 'failed' GROUP BY 1")
        assert not failed, f"jobs have failed: {failed}"
        return True

    async def finished_ids(self, count: int) -> list[str]:
        """As Subject."""
        rows = await self.connection.fetch("SELECT id::text FROM jobs WHERE state = 'succeeded' LIMIT $1", count)
        return [row["id"] for row in rows]

    async def counters(self) -> dict[str, float]:
        """As Subject; nothing where there are several jobs services, each of which knows only of its own."""
        if self._jobs > 1:
            return {}
        status, body = await self._metrics(Request(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", None))
        assert status == 200, status
        counted: defaultdict[str, float] = defaultdict(float)
        for name, value in _SERIES.findall(body.decode()):
            if name in _COUNTED:
                counted[_COUNTED[name]] += float(value)
        return dict(counted)

    async def close(self) -> None:
        """Lets go of its connections; the processes are the rig's to end."""
        self._metrics.close()
        await asyncio.wait_for(self.connection.close(), 10)
