"""What a statement that waited for a lock does with the row as it is by then: all of its parts see the same row, or none acts."""

import asyncio

import pytest
import pytest_asyncio

from driver import driving
from jobs.states import State
from waiting import until


@pytest_asyncio.fixture
async def driver(postgres_url):
    async with driving(postgres_url) as ready:
        yield ready


async def waits_for_a_lock(driver) -> bool:
    sql = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(await driver.database.fetch(sql))


async def while_another_changes(driver, job_id, assignments: str, verb: str, **fields):
    """Applies the verb while another transaction holds the row, changes it, and commits."""
    async with driver.database.engine.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        transaction = raw.transaction()
        await transaction.start()
        await raw.execute(f"UPDATE jobs SET version = version + 1, {assignments} WHERE id = $1", job_id)
        waiting = asyncio.create_task(driver.apply(job_id, verb, **fields))
        await until(lambda: waits_for_a_lock(driver), what=f"{verb} to wait")
        await transaction.commit()
    return await waiting


@pytest.mark.parametrize(
    ("state", "verb", "becomes"),
    [
        (State.CLAIMED, "intend", "submitting"),
        (State.SUBMITTING, "created", "submitted"),
        (State.SUBMITTING, "not_sent", "queued"),
        (State.SUBMITTED, "complete", "succeeded"),
        (State.SUBMITTED, "fail", "failed"),
    ],
)
async def test_a_report_that_waited_for_a_harmless_change_takes_effect_as_a_whole(driver, state, verb, becomes):
    job_id = await driver.reach(state)
    outcome = await while_another_changes(driver, job_id, "progress = 0.3", verb)
    row = await driver.row(job_id)
    assert (outcome["result"], row["state"]) == ("ok", becomes)
    submissions = [one["state"] for one in await driver.submissions(job_id)]
    expected = {"intend": "intent", "created": "created", "not_sent": "not_sent", "complete": "succeeded", "fail": "failed"}
    assert submissions == [expected[verb]]
    assert (await driver.events(job_id))[-1]["to_state"] == becomes


async def test_a_cancellation_that_commits_first_decides_what_the_report_becomes(driver):
    job_id = await driver.reach(State.SUBMITTING)
    await while_another_changes(driver, job_id, "cancel_requested_at = now(), cancel_reason = 'canceled'", "not_sent")
    assert (await driver.row(job_id))["state"] == "canceled"


async def test_a_claim_that_commits_first_makes_the_report_stale_in_every_table(driver):
    job_id = await driver.reach(State.SUBMITTED)
    epoch = (await driver.row(job_id))["epoch"]
    outcome = await while_another_changes(driver, job_id, "epoch = epoch + 1", "fail", epoch=epoch)
    assert outcome["result"] == "stale"
    assert (await driver.row(job_id))["state"] == "submitted"
    assert [one["state"] for one in await driver.submissions(job_id)] == ["created"]


async def test_a_statement_that_ends_in_a_deadlock_runs_again(driver):
    database, (first, second) = driver.database, [await driver.add(), await driver.add()]
    set_priority = "UPDATE jobs SET priority = 1 WHERE id = '{}';"
    async with database.engine.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        async with raw.transaction():
            await raw.execute(set_priority.format(first))
            both = f"DO $$BEGIN {set_priority.format(second)} {set_priority.format(first)} END$$"
            statement = asyncio.create_task(database.fetch(both))
            await until(lambda: waits_for_a_lock(driver))
            await raw.execute(set_priority.format(second))  # PostgreSQL ends the other one: it has waited for longer
    await statement
    assert [(await driver.row(job_id))["priority"] for job_id in (first, second)] == [1, 1]
