"""How services start: a wrong or missing setting, a taken port, no database or an old schema is one line and exit code 2."""

import asyncio
import os
import socket
import subprocess
import sys

import asyncpg
import pytest
from alembic import command as alembic

import ports
from jobs import migrate
from jobs.database import make_engine
from services import ROOT

TOKEN = "a-worker-token-of-tests"


def start(*command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Runs a service until it ends, which it must within a minute."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}/services:{ROOT}/protos/gen", **settings}
    return subprocess.run(
        [sys.executable, "-m", *command], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def assert_one_line(ended: subprocess.CompletedProcess[str], *words: str) -> None:
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    assert (ended.returncode, len(lines)) == (2, 1), ended.stderr
    for word in words:
        assert word in lines[0]
    assert "Traceback" not in ended.stderr


def jobs_settings(postgres_url: str) -> dict[str, str]:
    return {
        "JOBS_DATABASE_URL": postgres_url,
        "JOBS_AMQP_URL": "amqp://u:p@127.0.0.1:1/",
        "JOBS_WORKER_TOKEN": TOKEN,
        "JOBS_LISTEN": f"127.0.0.1:{ports.any_free_port()}",
        "JOBS_WORKER_LISTEN": f"127.0.0.1:{ports.any_free_port()}",
        "JOBS_METRICS_LISTEN": f"127.0.0.1:{ports.any_free_port()}",
    }


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("JOBS_DATABASE_URL", None, "is not set"),
        ("JOBS_WORKER_TOKEN", None, "is not set"),
        ("JOBS_WORKER_TOKEN", "short", "at least 16"),
        ("JOBS_AMQP_URL", "http://secret-password@x", "URL scheme"),
        ("JOBS_DATABASE_URL", "mysql://u:secret-password@h/d", "URL scheme"),
        ("JOBS_DATABASE_URL", "postgresql://u:secret-password@h/d?channel_binding=require", "channel_binding"),
        ("JOBS_DATABASE_URL", "postgresql://u:secret-password@h/d?sslmode=strict", "verify-full"),
        ("JOBS_DATABASE_URL", "postgresql://u:secret-password@h/d?sslrootcert=/not/there", "sslrootcert"),
        ("JOBS_LISTEN", "nonsense", "host:port"),
        ("JOBS_LISTEN", "127.0.0.1:99999", "host:port"),
        ("JOBS_AUTH", "maybe", "keys"),
        ("JOBS_TIME_SCALE", "0", "greater than or equal to 0.01"),
        ("JOBS_MAX_ATTEMPTS", "many", "integer"),
        ("JOBS_RETENTION_SECONDS", "3600", "at least 86400: a day, and JOBS_IDEMPOTENCY_SECONDS"),
    ],
)
def test_a_wrong_or_missing_setting_is_named_in_one_line_without_its_value(name, value, says):
    settings = jobs_settings("postgresql://u:p@127.0.0.1:1/d") | ({name: value} if value else {})
    if value is None:
        del settings[name]
    ended = start("jobs", "serve", **settings)
    assert_one_line(ended, name, says)
    assert "secret-password" not in ended.stderr


@pytest.mark.parametrize("which", ["JOBS_LISTEN", "JOBS_WORKER_LISTEN", "JOBS_METRICS_LISTEN"])
def test_a_taken_port_is_named(postgres_url, which):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert_one_line(start("jobs", "serve", **{**jobs_settings(postgres_url), which: address}), address)


def test_a_schema_older_than_the_code_is_refused_with_what_to_do(empty_postgres_url):
    assert_one_line(start("jobs", "serve", **jobs_settings(empty_postgres_url)), "python -m jobs migrate")
    ended = start("jobs", "keys", "list", JOBS_DATABASE_URL=empty_postgres_url)
    assert_one_line(ended, "python -m jobs migrate")


def test_who_waits_for_the_schema_goes_on_once_somebody_has_migrated(empty_postgres_url):
    settings = {"JOBS_DATABASE_URL": empty_postgres_url}
    assert_one_line(start("jobs", "wait-for-schema", "--seconds", "0", **settings), "python -m jobs migrate")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}/services:{ROOT}/protos/gen", **settings}
    waiting = subprocess.Popen(
        [sys.executable, "-m", "jobs", "wait-for-schema"], env=environment, stderr=subprocess.PIPE, text=True
    )
    assert waiting.stderr is not None
    with waiting.stderr:
        assert "schema.awaited" in waiting.stderr.readline()
        assert waiting.poll() is None
        assert start("jobs", "migrate", **settings).returncode == 0
        assert waiting.wait(60) == 0
    assert start("jobs", "wait-for-schema", "--seconds", "0", **settings).returncode == 0


async def test_a_schema_newer_than_the_code_is_left_alone(empty_postgres_url):
    """On the way back to an older version; what does not know the newer revision must not fail over it."""
    settings = {"JOBS_DATABASE_URL": empty_postgres_url}
    assert start("jobs", "migrate", **settings).returncode == 0
    connection = await asyncpg.connect(empty_postgres_url)
    try:
        await connection.execute("UPDATE alembic_version SET version_num = '9000'")
        ended = start("jobs", "migrate", **settings)
        assert (ended.returncode, "schema.newer" in ended.stderr) == (0, True), ended.stderr
        assert await connection.fetchval("SELECT version_num FROM alembic_version") == "9000"
    finally:
        await connection.close()
    assert start("jobs", "wait-for-schema", "--seconds", "0", **settings).returncode == 0


def test_migrating_twice_and_at_once_is_migrating_once(empty_postgres_url):
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}/services:{ROOT}/protos/gen",
        "JOBS_DATABASE_URL": empty_postgres_url,
    }
    running = [subprocess.Popen([sys.executable, "-m", "jobs", "migrate"], env=environment) for _ in range(3)]
    assert [one.wait(60) for one in running] == [0, 0, 0]
    assert start("jobs", "migrate", JOBS_DATABASE_URL=empty_postgres_url).returncode == 0


async def migrated_to(revision: str, url: str) -> None:
    """As the version before did."""
    config = migrate._config()
    engine = make_engine(url)
    async with engine.connect() as connection:

        def upgrade(within):
            config.attributes["connection"] = within
            alembic.upgrade(config, revision)

        await connection.run_sync(upgrade)
    await engine.dispose()


async def test_a_migration_that_needs_a_table_waits_for_who_reads_it_and_lets_everybody_else_through(empty_postgres_url):
    await migrated_to("0002", empty_postgres_url)
    reader, another = [await asyncpg.connect(empty_postgres_url) for _ in range(2)]
    reading = reader.transaction()
    await reading.start()
    await reader.execute("SELECT FROM job_events")  # as a dump does, for hours
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}/services:{ROOT}/protos/gen"}
    migrating = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "jobs", "migrate"), env=environment | {"JOBS_DATABASE_URL": empty_postgres_url}
    )
    try:
        until = asyncio.get_running_loop().time() + 6
        while asyncio.get_running_loop().time() < until:
            await another.execute("SELECT FROM jobs", timeout=5)
            await asyncio.sleep(0.02)
        assert migrating.returncode is None
        await reading.rollback()
        assert await migrating.wait() == 0
        assert not await another.fetchval("SELECT count(*) FROM pg_constraint WHERE conname = 'job_events_job_id_fkey'")
    finally:
        if migrating.returncode is None:
            migrating.kill()
        await asyncio.gather(reader.close(), another.close())


async def test_a_migration_that_fails_is_undone_and_told_of_in_a_line(empty_postgres_url):
    await migrated_to("0002", empty_postgres_url)
    connection = await asyncpg.connect(empty_postgres_url)
    try:
        await connection.execute("ALTER TABLE job_events RENAME CONSTRAINT job_events_job_id_fkey TO another")
        ended = start("jobs", "migrate", JOBS_DATABASE_URL=empty_postgres_url)
        assert_one_line(ended, "could not be migrated", "job_events_job_id_fkey")
        assert await connection.fetchval("SELECT version_num FROM alembic_version") == "0002"
        assert await connection.fetchval("SELECT count(*) FROM pg_constraint WHERE conname = 'submissions_job_id_fkey'") == 1
        await connection.execute("ALTER TABLE job_events RENAME CONSTRAINT another TO job_events_job_id_fkey")
    finally:
        await connection.close()
    assert start("jobs", "migrate", JOBS_DATABASE_URL=empty_postgres_url).returncode == 0


def test_no_database_is_waited_for_and_then_named():
    ended = start("jobs", "serve", **jobs_settings(f"postgresql://u:secret-password@127.0.0.1:{ports.any_free_port()}/d"))
    assert_one_line(ended, "JOBS_DATABASE_URL", "no PostgreSQL answers")
    assert "secret-password" not in ended.stderr


def test_keys_are_made_listed_and_revoked_on_the_command_line(postgres_url):
    made = start("jobs", "keys", "create", "--tenant", "acme", "--name", "laptop", JOBS_DATABASE_URL=postgres_url)
    key = made.stdout.strip()
    assert key.startswith("mg_")
    listed = start("jobs", "keys", "list", JOBS_DATABASE_URL=postgres_url, COLUMNS="200")
    assert "acme" in listed.stdout
    assert "laptop" in listed.stdout
    assert key not in listed.stdout
    key_id = next(word for word in listed.stdout.split() if word.count("-") == 4)
    assert start("jobs", "keys", "revoke", key_id, JOBS_DATABASE_URL=postgres_url).returncode == 0
    again = start("jobs", "keys", "revoke", key_id, JOBS_DATABASE_URL=postgres_url)
    assert again.returncode == 2
    assert "no key" in again.stderr


def test_a_certificate_that_libpq_would_miss_is_named_at_once(tmp_path):
    url = "postgresql://u:p@127.0.0.1:1/d?sslmode=verify-full"
    assert_one_line(start("jobs", "migrate", JOBS_DATABASE_URL=url, HOME=str(tmp_path)), "JOBS_DATABASE_URL", "root.crt")


@pytest.mark.parametrize("how", ["?sslmode=prefer&connect_timeout=10&application_name=mine", "?ssl=disable"])
def test_a_uri_as_hosts_of_postgresql_write_it_serves_to_migrate_and_to_list_keys(empty_postgres_url, how):
    for command in (("jobs", "migrate"), ("jobs", "keys", "list")):
        ended = start(*command, JOBS_DATABASE_URL=empty_postgres_url + how)
        assert ended.returncode == 0, ended.stderr


def test_of_several_hosts_the_one_that_answers_is_taken(empty_postgres_url):
    before, _, address = empty_postgres_url.partition("@")
    ended = start("jobs", "migrate", JOBS_DATABASE_URL=f"{before}@127.0.0.1:{ports.any_free_port()},{address}")
    assert ended.returncode == 0, ended.stderr
