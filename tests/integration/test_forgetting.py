"""What is past its time is deleted, all of it, and nothing else is."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from driver import Driver, driving
from jobs.forgetting import BATCH, Forgetting
from jobs.states import State

DAY = 86_400


@pytest.fixture
async def driver(postgres_url: str) -> AsyncIterator[Driver]:
    async with driving(postgres_url) as started:
        yield started


def forgetting(driver: Driver, retention_days: float = 0) -> Forgetting:
    return Forgetting(driver.database, lease=30, idempotency_seconds=DAY, retention_seconds=retention_days * DAY)


def id_of(at: datetime) -> UUID:
    """A UUIDv7, as a job's that was accepted then."""
    return UUID(int=int(at.timestamp() * 1000) << 80 | 7 << 76 | random.getrandbits(76))


async def count(driver: Driver, table: str) -> int:
    return (await driver.database.fetch(f"SELECT count(*) FROM {table}"))[0]["count"]


async def aged(driver: Driver, state: State, accepted: float, finished: float = 0) -> UUID:
    """A job in this state that was accepted, and has ended, so many days ago."""
    at = datetime.now(UTC) - timedelta(days=accepted)
    job_id = await driver.reach(state, job_id=id_of(at))
    moved = f"created_at = now() - interval '{accepted} d'"
    await driver.set(job_id, moved + (f", finished_at = now() - interval '{finished} d'" if finished else ""))
    return job_id


async def finished_in_bulk(driver: Driver, jobs: int) -> None:
    """So many jobs that have failed three days ago."""
    at = datetime.now(UTC) - timedelta(days=3)
    await driver.database.fetch(
        "INSERT INTO jobs (id, tenant_id, prompt, model, parameters, request, fingerprint, max_attempts, deadline_at, state, "
        "created_at, finished_at) "
        "SELECT id, $2, 'p', 'a/b', '{}', '{}', 'x', 4, now(), 'failed', $3, $3 FROM unnest($1::uuid[]) AS i (id)",
        [id_of(at) for _ in range(jobs)],
        driver.tenant,
        at,
    )


async def test_jobs_go_when_they_have_ended_long_ago_with_all_that_is_known_of_them(driver):
    gone = [await aged(driver, state, 9, 8) for state in (State.SUCCEEDED, State.FAILED, State.CANCELED)]
    kept = [
        await aged(driver, State.SUCCEEDED, 9, 6),
        await aged(driver, State.SUCCEEDED, 6, 5),
        *[await aged(driver, state, 9) for state in State if state not in (State.SUCCEEDED, State.FAILED, State.CANCELED)],
    ]
    await forgetting(driver, retention_days=7).once()
    assert {row["id"] for row in await driver.database.fetch("SELECT id FROM jobs")} == set(kept)
    for table in ("submissions", "job_events"):
        of = {row["job_id"] for row in await driver.database.fetch(f"SELECT job_id FROM {table}")}
        assert of and not of & set(gone), table


async def test_jobs_are_kept_for_ever_where_nothing_is_said(driver):
    await aged(driver, State.SUCCEEDED, 900, 800)
    await forgetting(driver).once()
    assert await count(driver, "jobs") == 1


async def test_more_than_a_batch_goes_at_once_and_two_instances_do_it_together(driver):
    await finished_in_bulk(driver, 3 * BATCH + 1)
    young = await aged(driver, State.SUCCEEDED, 1, 1)
    await asyncio.gather(*(forgetting(driver, retention_days=2).once() for _ in range(2)))
    assert [row["id"] for row in await driver.database.fetch("SELECT id FROM jobs")] == [young]


async def test_keys_are_forgotten_when_their_time_is_over_however_many_there_are(driver):
    await driver.database.fetch(
        "INSERT INTO idempotency_keys (tenant_id, key, request_sha256, job_id, created_at) SELECT $1, 'key-' || n, '\\x00', "
        "gen_random_uuid(), now() - make_interval(hours => CASE WHEN n <= $2 THEN 25 ELSE 23 END) "
        "FROM generate_series(1, $2 + 3) n",
        driver.tenant,
        2 * BATCH + 1,
    )
    await forgetting(driver).once()
    assert await count(driver, "idempotency_keys") == 3
