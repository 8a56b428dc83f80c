"""What PostgreSQL, RabbitMQ, the bucket, the network and certificates do to the system."""

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import UUID

import aio_pika

import processes
from chaos.alerts.cause import causes
from chaos.alerts.watched import Watched
from chaos.proxy import Way
from jobs.bell import DEAD_LETTERS, QUEUE
from waiting import until

GENERATORS = ("generator-1", "generator-2")
PATIENT_CLIENTS = 30
"""Lists that are asked for at once: more than the pool has connections."""


def burns(name: str) -> tuple[str, ...]:
    """The ids of an objective's alerts."""
    return tuple(f"{name} {severity} {window}" for severity, window in (("critical", "1h"), ("critical", "6h"), ("warning", "3d")))


@causes("MediagenDatabaseDown critical", *burns("MediagenAvailabilityBurn"))
async def postgresql_stops(system: Watched) -> AsyncIterator[None]:
    """Clients go on asking, and are answered with 503."""
    postgresql = system.servers.postgresql
    await asyncio.to_thread(postgresql.stop)
    try:
        async with system.repeating(lambda: system.http.get("/api/v1/jobs")):
            yield
    finally:
        postgresql.start()
        await asyncio.to_thread(postgresql.wait)


@causes("MediagenDBPoolSaturated warning")
async def a_table_is_locked(system: Watched) -> AsyncIterator[None]:
    """Somebody's migration by hand: statements keep their connections, and others wait for one in vain."""
    async with system.database() as connection, AsyncExitStack() as kept:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
            await kept.enter_async_context(system.repeating(lambda: system.http.get("/api/v1/jobs"), times=PATIENT_CLIENTS))
            yield
        finally:
            await transaction.rollback()


@causes("MediagenTableBloated warning")
async def vacuum_is_off(system: Watched) -> AsyncIterator[None]:
    """And a large transaction is rolled back: its rows are dead."""
    async with system.database() as connection:
        await connection.execute("ALTER TABLE jobs SET (autovacuum_enabled = off)")
        columns = await connection.fetchval(
            "SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns "
            "WHERE table_name = 'jobs' AND is_generated = 'NEVER' AND column_name <> 'id'"
        )
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            f"INSERT INTO jobs (id, {columns}) SELECT gen_random_uuid(), {columns} "
            "FROM (SELECT * FROM jobs WHERE finished_at IS NOT NULL LIMIT 1) finished, generate_series(1, 21000)"
        )
        await transaction.rollback()
    try:
        yield
    finally:
        async with system.database() as connection:
            await connection.execute("VACUUM jobs")
            await connection.execute("ALTER TABLE jobs RESET (autovacuum_enabled)")


@causes("MediagenMigrationMismatch warning")
async def the_schema_is_newer_than_a_process(system: Watched) -> AsyncIterator[None]:
    """As where a newer version has migrated, and an instance of this one stays."""
    async with system.database() as connection:
        of_code = await connection.fetchval("SELECT version_num FROM alembic_version")
        await connection.execute("UPDATE alembic_version SET version_num = '0099'")
        try:
            yield
        finally:
            await connection.execute("UPDATE alembic_version SET version_num = $1", of_code)


@causes("MediagenGuardRefused critical")
async def a_trigger_lowers_an_epoch(system: Watched) -> AsyncIterator[None]:
    """Somebody's own, before the guard's: the report that a job is completed would go back."""
    async with system.database() as connection:
        await connection.execute(
            "CREATE FUNCTION lower_epoch() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.epoch := OLD.epoch - 1; RETURN NEW; END $$"
        )
        await connection.execute(
            "CREATE TRIGGER a_mistake BEFORE UPDATE ON jobs FOR EACH ROW "
            "WHEN (NEW.state = 'succeeded' AND NEW.prompt LIKE '[guarded]%') EXECUTE FUNCTION lower_epoch()"
        )
        try:
            await system.experiment.post(1, "[guarded]")
            yield
        finally:
            await connection.execute("DROP TRIGGER a_mistake ON jobs")
            await connection.execute("DROP FUNCTION lower_epoch")


@causes("MediagenRelayLag warning")
async def a_transaction_is_left_open(system: Watched) -> AsyncIterator[None]:
    """It holds the row of a job that waits: nobody rings for it, and nobody claims it."""
    pids = [pid for name in GENERATORS if (pid := system.stack.pid(name)) is not None]
    async with system.database() as connection:
        transaction = connection.transaction()
        await transaction.start()
        for pid in pids:
            processes.send(pid, signal.SIGSTOP)  # until the row is held: they would have claimed it by then
        try:

            async def nobody_offers() -> bool:
                return await system.experiment.metric("jobs", "mediagen_jobs_offered_slots") == 0

            await until(nobody_offers)
            (job_id,) = await system.experiment.post(1, "held by a transaction")
            await connection.execute("SELECT FROM jobs WHERE id = $1 FOR UPDATE", UUID(job_id))
        finally:
            for pid in pids:
                processes.send(pid, signal.SIGCONT)
        try:
            yield
        finally:
            await transaction.rollback()


@causes("MediagenRabbitMQDown warning", "MediagenNoConsumers warning")
async def generators_cannot_reach_rabbitmq(system: Watched) -> AsyncIterator[None]:
    """While there is work."""
    async with system.unfinished("without a bell"):
        system.links.generator_rabbitmq.refuse()
        try:
            yield
        finally:
            system.links.generator_rabbitmq.heal()


@causes("MediagenRabbitMQAlarm warning")
async def rabbitmq_runs_out_of_memory(system: Watched) -> AsyncIterator[None]:
    """As it is told to see it."""
    control = system.servers.rabbitmq.control
    await asyncio.to_thread(control, "set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        yield
    finally:
        await asyncio.to_thread(control, "set_vm_memory_high_watermark", "0.4")


@causes("MediagenConfirmsSlow warning")
async def rabbitmq_is_far_away(system: Watched) -> AsyncIterator[None]:
    """Its answers take over a second. Jobs come steadily, and half the creates are refused: a new one begins without a ring."""
    link = system.links.jobs_rabbitmq
    refused = {"effect": "create_answer", "answer": "throttled_about", "retry_after": 1, "probability": 0.5}
    link.latency(1.2, Way.DOWN)
    try:
        async with (
            system.faults(refused | {"when": {"prompt": "[slowly]"}}),
            system.repeating(lambda: system.experiment.post(1, "[slowly]"), pause=0.3),
        ):
            yield
    finally:
        link.heal()


@causes("MediagenDeadLetters warning")
async def a_message_means_nothing(system: Watched) -> AsyncIterator[None]:
    """Somebody published it to the queue of ours."""
    connection = await aio_pika.connect(system.stack.services.amqp_url)
    try:
        channel = await connection.channel()
        await channel.default_exchange.publish(aio_pika.Message(b"\xff no message of ours"), QUEUE)
        yield
        await (await channel.declare_queue(DEAD_LETTERS, passive=True)).purge()
    finally:
        await connection.close()


@causes("MediagenBucketRefusesWrites critical", "MediagenS3Errors warning")
async def keys_of_the_bucket_are_revoked(system: Watched) -> AsyncIterator[None]:
    """The server knows another secret, and answers every request with 403."""
    store = system.servers.object_store
    known = store.environment["RCLONE_AUTH_KEY"]

    async def restart(key: str) -> None:
        store.environment["RCLONE_AUTH_KEY"] = key
        await asyncio.to_thread(store.start)  # what runs with another key is stopped first
        await asyncio.to_thread(store.wait)

    await restart(f'"{store.access_key},{secrets.token_hex(8)}"')
    try:
        yield
    finally:
        await restart(known)


@causes(*burns("MediagenLatencyBurn"), quiet_before=False)  # a small machine that has just started everything is slow by itself
async def jobs_is_far_from_the_gateway(system: Watched) -> AsyncIterator[None]:
    """Four tenths of a second there and back."""
    link = system.links.gateway_jobs
    link.latency(0.2)
    try:
        async with system.repeating(lambda: system.experiment.post(1, "accepted slowly")):
            yield
    finally:
        link.heal()


@causes("MediagenCertificateExpiring warning")
async def a_certificate_is_not_renewed(system: Watched) -> AsyncIterator[None]:
    """Jobs shows one that ends in a week."""
    system.certificate.issue(days=7)
    try:
        yield
    finally:
        system.certificate.issue(days=90)
