"""What a statement that waited for a lock does with the row as it is by then: all of its parts see the same row, or none acts."""

import asyncio

import pytest
import pytest_asyncio

from driver import driving
from jobs.states import State


@pytest_asyncio.fixture
async def driver(postgres_url):
    async with driving(postgres_url) as ready:
        yield ready


async def while_another_changes(driver, job_id, assignments: str, verb: str, **fields):
    """Applies the verb while another transaction holds the row, changes it, and commits."""
    async with driver.database.engine.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        transaction = raw.transaction()
        await transaction.start()
        await raw.execute(f"UPDATE jobs SET version = version + 1, {assignments} WHERE id = $1", job_id)
        waiting = asyncio.create_task(driver.apply(job_id, verb, **fields))
        await asyncio.sleep(0.3)
        assert not waiting.done()
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
