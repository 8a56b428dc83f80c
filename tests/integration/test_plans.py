"""How PostgreSQL plans what is asked of it again and again: in a quiet hour planning would cost more than all else."""

from uuid import uuid4

import asyncpg
import pytest_asyncio

from driver import Driver, driving
from jobs.database import Database
from jobs.states import State

ROUNDS = 8
"""PostgreSQL plans a connection's first five of a statement for their own parameters, and decides then."""


@pytest_asyncio.fixture
async def driver(postgres_url):
    async with driving(postgres_url) as ready:
        yield ready


async def prepared(database: Database) -> list[asyncpg.Record]:
    """The statements of a connection, and how often each was planned anew; the connection is the one that all have used."""
    return await database.fetch(
        "SELECT left(regexp_replace(statement, '^(--[^\n]*\n)+', ''), 200) AS statement, generic_plans, custom_plans "
        "FROM pg_prepared_statements WHERE from_sql = false AND generic_plans + custom_plans >= $1",
        ROUNDS,
    )


async def test_no_statement_of_the_store_is_planned_anew_with_each_call(driver: Driver):
    for _ in range(ROUNDS):
        job_id = await driver.reach(State.SUBMITTED)
        await driver.store.ring()
        await driver.store.heartbeat([(driver.worker, job_id, 1, None, None)])
        await driver.store.note_workers([(driver.worker, 10, 10, False, 0, False)])
        await driver.store.get([(driver.tenant, job_id)])
        await driver.store.known_keys([(driver.tenant, "a key")])
        await driver.store.claim_due(driver.worker, 1, False, [uuid4()])
        await driver.store.sweep()
        assert (await driver.apply(job_id, "complete"))["result"] == "ok"
    statements = await prepared(driver.database)
    assert len(statements) >= 8
    assert not [row["statement"] for row in statements if row["custom_plans"] > 5]
