"""Gathers the evidence of an experiment, once the system is quiet."""

import asyncio
import hashlib
import time
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import httpx
import orjson
from minio import Minio

from history.dead_letters import dead_letters
from history.evidence import Evidence, Row
from history.leaks import search
from history.recorder import Recorder
from history.system import System
from history.vitals import sample_database

QUIET_SECONDS = 60.0
"""How long the bells that ring for finished jobs, and the leases of dead workers, may take to go away."""

MEDIA_READ = 20
"""How many outputs are read through the gateway, besides all of them from the bucket."""


async def collect(system: System, recorder: Recorder, quiet_seconds: float = QUIET_SECONDS) -> Evidence:
    """Waits until nothing moves any more, or that time is over, and reads everything."""
    database = await asyncpg.connect(system.services.database_url)
    try:
        await _until_quiet(system, database, quiet_seconds)
        await recorder.look_again()
        jobs = await _table(database, "SELECT * FROM jobs ORDER BY id")
        await _read_media(recorder, jobs)
        evidence = Evidence(
            told=recorder.told,
            jobs=jobs,
            events=await _table(database, "SELECT * FROM job_events ORDER BY job_id, version"),
            submissions=await _table(database, "SELECT * FROM submissions ORDER BY created_at, intent_id"),
            keys=await _table(
                database, "SELECT k.*, t.name AS tenant FROM idempotency_keys k JOIN tenants t ON t.id = k.tenant_id"
            ),
            ledger=await ledger(system),
            objects=await asyncio.to_thread(_objects, system),
            queues=await _queues(system),
            consumers=system.generators(),
            vitals=[*recorder.vitals, *system.vitals(), await sample_database(database)],
        )
        signing = await database.fetch("SELECT signing_secret FROM tenants")
    finally:
        await database.close()
    secrets = [*recorder.api_keys.values(), *[row["signing_secret"].hex() for row in signing]]
    evidence.logs_read, evidence.leaks = await asyncio.to_thread(search, system, evidence, secrets)
    return evidence


async def ledger(system: System) -> Row:
    """What the simulator counted."""
    async with httpx.AsyncClient(timeout=60) as http:
        return (await http.get(f"{system.simulator_url}/control/ledger")).raise_for_status().json()


async def _until_quiet(system: System, database: asyncpg.Connection, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        open_jobs = await database.fetchval("SELECT count(*) FROM jobs WHERE finished_at IS NULL OR lease_worker IS NOT NULL")
        live = [queue for queue in await _counts(system) if not queue["name"].endswith(".dead")]
        waiting = sum(queue["ready"] + queue["unacked"] for queue in live)
        # A connection that was just broken comes back within ten seconds.
        if open_jobs == waiting == 0 and sum(queue["consumers"] for queue in live) == system.generators():
            return
        await asyncio.sleep(0.5)


async def _table(database: asyncpg.Connection, statement: str) -> list[Row]:
    return [{name: _plain(value) for name, value in record.items()} for record in await database.fetch(statement)]


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.timestamp()
        case UUID():
            return str(value)
        case bytes():
            return value.hex()
        case str() if value[:1] in ("{", "["):
            return _json(value)
        case _:
            return value


def _json(text: str) -> Any:
    """asyncpg shows jsonb as text; a prompt that looks like JSON and is none stays what it is."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _objects(system: System) -> list[Row]:
    services = system.services
    client = Minio(
        endpoint=services.store.endpoint.removeprefix("http://"),
        access_key=services.store.access_key,
        secret_key=services.store.secret_key,
        secure=False,
        region="us-east-1",
    )
    rows = []
    for found in client.list_objects(bucket_name=services.bucket, recursive=True):
        digest, size = hashlib.sha256(), 0
        answer = client.get_object(bucket_name=services.bucket, object_name=found.object_name)
        try:
            for chunk in answer.stream(1 << 18):
                digest.update(chunk)
                size += len(chunk)
        finally:
            answer.close()
            answer.release_conn()
        rows.append({"key": found.object_name, "size": size, "sha256": digest.hexdigest()})
    return rows


async def _read_media(recorder: Recorder, jobs: list[Row]) -> None:
    """Reads some outputs as their owner would."""
    stored = [
        (job["id"], output) for job in jobs if job["state"] == "succeeded" for output in job["outputs"] if output["object_key"]
    ]
    for job_id, output in stored[:: max(1, len(stored) // MEDIA_READ)]:
        if job_id in recorder.accepted:
            await recorder.media(job_id, output["index"])


async def _counts(system: System) -> list[Row]:
    """The queues of the system's virtual host with their counts."""
    vhost = urlsplit(system.services.amqp_url).path.removeprefix("/")
    columns = ("name", "messages_ready", "messages_unacknowledged", "consumers")
    lines = await asyncio.to_thread(system.rabbitmqctl, "list_queues", "-p", vhost, "--no-table-headers", *columns)
    rows = []
    for line in filter(None, lines.splitlines()):
        name, *counts = line.split("\t")
        rows.append(dict(zip(("name", "ready", "unacked", "consumers"), (name, *map(int, counts)), strict=True)))
    return rows


async def _queues(system: System) -> list[Row]:
    queues = await _counts(system)
    for queue in queues:
        queue["bodies"] = await dead_letters(system.services.amqp_url, queue["name"]) if queue["name"].endswith(".dead") else []
    return queues
