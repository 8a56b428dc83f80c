"""Each transition, its guard and its repetition, on the real statement and a real PostgreSQL."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from driver import OUTPUTS, Driver, driving
from jobs.states import FINAL, STATUS, TRANSITIONS, State
from jobs.store import Report

CLAIMS = {"claim", "begin", "attach", "reconcile"}
VERBS = sorted({row.verb for row in TRANSITIONS} - CLAIMS - {"decline", "taken", "look_again", "ruled_out"} | {"empty"})


@pytest_asyncio.fixture
async def driver(postgres_url):
    async with driving(postgres_url) as ready:
        yield ready


async def prepare(driver: Driver, verb: str, source: State):
    """A job in the source state, with time moved so that the verb's own conditions hold."""
    job_id = await driver.reach(source)
    moves = {
        "expire": "lease_until = now() - interval '1 s'",
        "give_up": "deadline_at = now() - interval '1 s'",
        "outcome_unknown": "unknown_since = now() - interval '2 h'",
        "found": "settle_at = now() - interval '1 h', lookup_begun_at = now() - interval '1 min'",
        "ruled_out": "settle_at = now() - interval '1 h', lookup_begun_at = now() - interval '1 min', "
        "first_empty_at = now() - interval '2 min'",
        "attach": "lease_until = NULL, lease_worker = NULL, next_dispatch_at = now()",
        "reconcile": "lease_until = NULL, lease_worker = NULL, next_dispatch_at = now()",
    }
    if verb == "created" and source is State.UNKNOWN:
        moves["created"] = moves["reconcile"]  # while a look-up holds the job, the late answer's reporter is not its holder
    if verb in moves:
        await driver.set(job_id, moves[verb])
    if verb == "decline":
        await driver.set(job_id, "cancel_requested_at = now(), cancel_reason = 'canceled'")
    if verb == "taken":
        other = await driver.reach(State.SUBMITTED)
        await driver.database.fetch("UPDATE submissions SET prediction_id = 'theirs' WHERE job_id = $1", other)
    return job_id


ASKED = {"decline": "intend", "taken": "created", "look_again": "empty", "ruled_out": "empty"}
ENDS = {"decline": State.CANCELED}


@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda row: f"{row.verb} of {row.source}")
async def test_every_transition_of_the_table_happens_once_and_writes_its_history(driver, row):
    job_id = await prepare(driver, row.verb, row.source)
    before = await driver.row(job_id)
    if row.verb in CLAIMS:
        granted = await driver.claim(job_id, intent_id=uuid4() if row.verb == "begin" else None)
        assert granted["verb"] == row.verb
    else:
        extra = {"prediction_ids": "theirs"} if row.verb == "taken" else {}
        await driver.apply(job_id, ASKED.get(row.verb, row.verb), **extra)
    after = await driver.row(job_id)
    assert after["state"] == ENDS.get(row.verb, row.target)
    assert after["status"] == STATUS[State(after["state"])]
    assert after["version"] == before["version"] + 1
    assert after["attempt"] == before["attempt"] + row.attempts
    assert after["epoch"] == before["epoch"] + (row.verb in CLAIMS)
    assert (after["lease_worker"] is not None) == (
        row.lease == "take" or (row.lease == "keep" and before["lease_worker"] is not None)
    )
    event = (await driver.events(job_id))[-1]
    assert (event["version"], event["from_state"], event["to_state"]) == (after["version"], before["state"], after["state"])
    if row.submission:
        assert (await driver.submissions(job_id))[-1]["state"] == row.submission


@pytest.mark.parametrize("verb", VERBS)
async def test_a_verb_changes_nothing_in_a_state_that_the_table_does_not_give_it(driver, verb):
    allowed = {row.source for row in TRANSITIONS if row.verb in (verb, {"empty": "look_again"}.get(verb))}
    for state in set(State) - allowed:
        job_id = await driver.reach(state)
        await driver.set(job_id, "deadline_at = now() - interval '1 s'" if verb == "give_up" else "deadline_at = deadline_at")
        before = dict(await driver.row(job_id))
        await driver.apply(job_id, verb)
        after = dict(await driver.row(job_id))
        assert after == before, f"{verb} changed a job that is {state}"


@pytest.mark.parametrize(
    ("state", "verb", "fields"),
    [
        (State.CLAIMED, "intend", {}),
        (State.SUBMITTING, "created", {"prediction_ids": "p1"}),
        (State.SUBMITTING, "lost", {}),
        (State.SUBMITTING, "reject", {}),
        (State.SUBMITTING, "rate_limit", {}),
        (State.SUBMITTING, "not_sent", {}),
        (State.SUBMITTING, "account", {}),
        (State.SUBMITTED, "complete", {}),
        (State.SUBMITTED, "retry", {}),
        (State.SUBMITTED, "fail", {}),
        (State.SUBMITTED, "aborted", {}),
        (State.SUBMITTED, "canceled", {}),
        (State.SUBMITTED, "release", {}),
        (State.UNKNOWN, "release", {}),
        (State.QUEUED, "cancel", {}),
        (State.SUBMITTED, "cancel", {}),
    ],
)
async def test_a_repeated_report_is_answered_with_ok_and_changes_nothing_more(driver, state, verb, fields):
    job_id = await driver.reach(state)
    row = await driver.row(job_id)
    same = {"epoch": row["epoch"], "intent_id": row["intent_id"] or uuid4(), "prediction_ids": row["prediction_id"], **fields}
    assert (await driver.apply(job_id, verb, **same))["result"] == "ok"
    once = dict(await driver.row(job_id))
    assert (await driver.apply(job_id, verb, **same))["result"] == "ok"
    assert dict(await driver.row(job_id)) == once


@pytest.mark.parametrize("verb", ["intend", "release", "complete", "retry", "fail", "canceled", "empty"])
async def test_a_report_of_a_passed_epoch_changes_nothing(driver, verb):
    for state in (State.CLAIMED, State.SUBMITTED, State.UNKNOWN):
        job_id = await driver.reach(state)
        before = dict(await driver.row(job_id))
        outcome = await driver.apply(job_id, verb, epoch=before["epoch"] - 1)
        assert outcome["result"] == "stale"
        assert dict(await driver.row(job_id)) == before


async def test_of_two_claims_at_once_one_wins(driver):
    for _ in range(20):
        job_id = await driver.add()
        granted = await asyncio.gather(*[driver.claim(job_id, uuid4()) for _ in range(4)])
        assert sum(one is not None for one in granted) == 1
        assert (await driver.row(job_id))["epoch"] == 1


async def test_the_database_refuses_to_leave_a_final_state_and_to_lower_epoch_or_version(driver):
    for state in FINAL:
        job_id = await driver.reach(state)
        with pytest.raises(asyncpg.PostgresError, match="final"):
            await driver.set(job_id, "state = 'queued', finished_at = NULL, version = version + 1, next_dispatch_at = now()")
        with pytest.raises(asyncpg.PostgresError, match="final"):
            await driver.set(job_id, """outputs = '["another"]', version = version + 1""")
    job_id = await driver.reach(State.SUBMITTED)
    for change in ("epoch = epoch - 1", "version = version - 1"):
        with pytest.raises(asyncpg.PostgresError, match="never go back"):
            await driver.set(job_id, change)
    with pytest.raises(asyncpg.PostgresError, match="without a new version"):
        await driver.set(job_id, "state = 'unknown', unknown_since = now()")


async def test_a_late_answer_to_a_create_is_believed_by_its_intent_and_left_to_the_next_holder(driver):
    job_id = await driver.reach(State.SUBMITTING)
    intent = (await driver.row(job_id))["intent_id"]
    await driver.set(job_id, "lease_until = now() - interval '1 s'")
    await driver.store.sweep()
    assert (await driver.row(job_id))["state"] == "unknown"
    assert (await driver.claim(job_id, uuid4()))["verb"] == "reconcile"
    outcome = await driver.apply(job_id, "created", epoch=1, intent_id=intent, prediction_ids="late")
    assert outcome["result"] == "not_holder"
    row = await driver.row(job_id)
    assert (row["state"], row["prediction_id"], row["lease_worker"]) == ("submitted", "late", None)
    assert (await driver.claim(job_id))["verb"] == "attach"


async def test_a_prediction_that_nobody_can_bind_is_an_orphan_unless_an_equal_request_is_open(driver):
    job_id = await driver.reach(State.SUBMITTING)
    intent = (await driver.row(job_id))["intent_id"]
    await driver.apply(job_id, "not_sent")  # declared not sent, by mistake or by a clock
    twin = await driver.reach(State.SUBMITTING)
    fresh = {"intent_id": intent, "epoch": 1, "prediction_ids": "fresh"}
    assert (await driver.apply(job_id, "created", **fresh))["result"] == "stale"  # it may be the twin's: leave it
    await driver.apply(twin, "created", prediction_ids="twins-own")
    assert (await driver.apply(job_id, "created", **fresh))["result"] == "orphan"
    assert [row["state"] for row in await driver.submissions(job_id)] == ["orphan_canceled"]
    assert (await driver.apply(job_id, "created", **fresh))["result"] == "orphan"  # the first answer may have been lost
    other = await driver.reach(State.UNKNOWN)
    await driver.set(other, "settle_at = now() - interval '1 h'")
    assert (await driver.apply(other, "found", prediction_ids="fresh"))["result"] == "taken"  # an orphan is unbindable for ever


async def test_a_prediction_is_bound_to_one_job_only(driver):
    first, second = await driver.reach(State.SUBMITTING), await driver.reach(State.SUBMITTING)
    assert (await driver.apply(first, "created", prediction_ids="one"))["result"] == "ok"
    assert (await driver.apply(second, "created", prediction_ids="one"))["result"] == "taken"
    assert (await driver.row(second))["state"] == "unknown"


async def test_two_jobs_that_bind_one_prediction_in_one_statement_do_not_both_get_it(driver):
    ids = [await driver.reach(State.SUBMITTING) for _ in range(2)]
    rows = [await driver.row(job_id) for job_id in ids]
    reports = [Report(row["id"], "created", "test", driver.worker, row["epoch"], row["intent_id"], "same") for row in rows]
    outcomes = await driver.store.transition(reports)
    assert sorted(outcome["result"] for outcome in outcomes) == ["ok", "taken"]


async def test_a_lost_create_is_ruled_out_only_by_two_empty_lists_the_last_of_them_begun_after_its_settle_time(driver):
    job_id = await driver.reach(State.UNKNOWN)
    assert (await driver.apply(job_id, "empty"))["result"] == "too_early"  # before the settle time
    await driver.set(job_id, "settle_at = now() - interval '1 s'")
    await driver.set(job_id, "lookup_begun_at = now()")
    assert (await driver.apply(job_id, "empty"))["result"] == "too_early"  # the first was seconds ago
    await driver.set(job_id, "first_empty_at = now() - interval '1 min'")
    assert (await driver.apply(job_id, "unreadable"))["result"] == "too_early"
    assert (await driver.apply(job_id, "empty"))["result"] == "ok"
    row = await driver.row(job_id)
    assert (row["state"], row["attempt"]) == ("queued", 0)
    assert (await driver.submissions(job_id))[0]["state"] == "not_created"


async def test_matches_that_all_belong_to_twins_rule_a_lost_create_out_as_an_empty_list_does(driver):
    twin, lost = await driver.reach(State.SUBMITTED), await driver.reach(State.UNKNOWN)
    theirs = (await driver.row(twin))["prediction_id"]
    await driver.set(lost, "settle_at = now() - interval '1 min', lookup_begun_at = now() - interval '30 s'")
    assert (await driver.apply(lost, "found", prediction_ids=theirs))["result"] == "taken"
    await driver.set(lost, "first_empty_at = now() - interval '30 s'")
    assert (await driver.apply(lost, "found", prediction_ids=theirs))["result"] == "ok"
    row = await driver.row(lost)
    assert (row["state"], row["prediction_id"], row["attempt"]) == ("queued", None, 0)


async def test_a_match_before_the_settle_time_is_not_bound_as_it_may_be_a_twins(driver):
    job_id = await driver.reach(State.UNKNOWN)
    assert (await driver.apply(job_id, "found", prediction_ids="early"))["result"] == "too_early"
    await driver.set(job_id, "settle_at = now() - interval '1 s', lookup_begun_at = now()")
    outcome = await driver.apply(job_id, "found", prediction_ids="early,later")
    assert (outcome["result"], outcome["prediction_id"]) == ("ok", "early")


async def test_a_match_that_is_marked_as_ones_own_is_bound_before_the_settle_time(driver):
    job_id = await driver.reach(State.UNKNOWN)
    assert (await driver.apply(job_id, "found", marked=False))["result"] == "too_early"
    assert (await driver.apply(job_id, "found", marked=True))["result"] == "ok"
    row = await driver.row(job_id)
    assert (row["state"], row["lease_worker"]) == ("submitted", driver.worker)


async def test_a_marked_match_that_another_job_has_is_not_bound(driver):
    other = await driver.reach(State.SUBMITTED)
    job_id = await driver.reach(State.UNKNOWN)
    theirs = (await driver.row(other))["prediction_id"]
    assert (await driver.apply(job_id, "found", prediction_ids=theirs, marked=True))["result"] == "taken"
    assert (await driver.row(job_id))["state"] == "unknown"


async def test_a_failed_prediction_is_retried_with_growing_rests_until_its_attempts_are_spent(driver):
    job_id = await driver.add()
    for attempt in range(1, 5):
        await driver.set(job_id, "not_before = now()")
        assert await driver.claim(job_id)
        await driver.apply(job_id, "intend")
        await driver.apply(job_id, "created")
        await driver.apply(job_id, "retry", code="provider_transient", message="Prediction interrupted")
        row = await driver.row(job_id)
        assert row["attempt"] == attempt
        assert row["retry_count"] == attempt - 1
    assert (row["state"], row["error_code"], row["error_message"]) == ("failed", "provider_transient", "Prediction interrupted")
    assert [one["state"] for one in await driver.submissions(job_id)] == ["failed"] * 4


async def test_a_job_that_kills_its_workers_before_they_send_anything_is_stopped(driver):
    job_id = await driver.add()
    for turn in range(8):
        assert (await driver.row(job_id))["claims"] == turn
        await driver.set(job_id, "not_before = now()")
        assert (await driver.claim(job_id, intent_id=uuid4()))["verb"] == "begin"
        await driver.set(job_id, "lease_until = now() - interval '1 s'")
        await driver.store.sweep()
        assert (await driver.claim(job_id))["verb"] == "reconcile"
        await driver.set(job_id, "settle_at = now() - interval '1 h', first_empty_at = now() - interval '1 h'")
        assert (await driver.apply(job_id, "empty"))["result"] == "ok"
    row = await driver.row(job_id)
    assert (row["state"], row["error_code"], row["attempt"]) == ("failed", "crash_loop", 0)


async def test_a_job_whose_answers_are_lost_again_and_again_is_no_crash_loop(driver):
    job_id = await driver.add()
    for _ in range(9):
        await driver.set(job_id, "not_before = now()")
        assert await driver.claim(job_id, intent_id=uuid4())
        await driver.apply(job_id, "lost")
        assert (await driver.claim(job_id))["verb"] == "reconcile"
        await driver.set(job_id, "settle_at = now() - interval '1 h', first_empty_at = now() - interval '1 h'")
        assert (await driver.apply(job_id, "empty"))["result"] == "ok"
    assert (await driver.row(job_id))["state"] == "queued"


async def test_a_job_that_kills_its_workers_is_stopped(driver):
    job_id = await driver.add()
    for _ in range(8):
        await driver.set(job_id, "not_before = now()")
        assert await driver.claim(job_id)
        await driver.set(job_id, "lease_until = now() - interval '1 s'")
        await driver.store.sweep()
    row = await driver.row(job_id)
    assert (row["state"], row["error_code"]) == ("failed", "crash_loop")


@pytest.mark.parametrize("state", [State.CLAIMED, State.SUBMITTING, State.SUBMITTED, State.UNKNOWN])
async def test_cancelling_a_job_that_is_held_is_a_flag_that_its_holder_acts_on(driver, state):
    job_id = await driver.reach(state)
    assert (await driver.apply(job_id, "cancel"))["result"] == "ok"
    row = await driver.row(job_id)
    assert (row["state"], row["cancel_requested_at"] is not None) == (state, True)
    held = (driver.worker, job_id, row["epoch"], None, None)
    if state is not State.UNKNOWN:
        assert [(one["lost"], one["cancel"]) for one in await driver.store.heartbeat([held])] == [(False, True)]
    end = {State.CLAIMED: "intend", State.SUBMITTING: "not_sent", State.SUBMITTED: "canceled", State.UNKNOWN: "empty"}[state]
    await driver.set(job_id, "settle_at = now() - interval '1 h', lookup_begun_at = now(), first_empty_at = now() - interval '1 h'")
    await driver.apply(job_id, end)
    assert (await driver.row(job_id))["state"] == "canceled"


async def test_a_completion_that_commits_first_wins_over_a_cancellation(driver):
    job_id = await driver.reach(State.SUBMITTED)
    await driver.apply(job_id, "cancel")
    assert (await driver.apply(job_id, "complete"))["result"] == "ok"
    assert (await driver.row(job_id))["state"] == "succeeded"
    assert (await driver.apply(job_id, "cancel"))["result"] == "stale"


@pytest.mark.parametrize(("state", "end"), [(State.QUEUED, None), (State.SUBMITTED, "canceled")])
async def test_a_deadline_ends_a_job_as_failed_with_its_own_code(driver, state, end):
    job_id = await driver.reach(state)
    await driver.set(job_id, "deadline_at = now() - interval '1 s'")
    await driver.store.sweep()
    if end:
        assert (await driver.row(job_id))["cancel_requested_at"] is not None
        await driver.apply(job_id, end)
    row = await driver.row(job_id)
    assert (row["state"], row["error_code"]) == ("failed", "deadline_exceeded")


@pytest.mark.parametrize("left", ["-0.3 s", "0.7 s"], ids=["before the sweeper saw it", "as Cancel-After is in whole seconds"])
async def test_a_prediction_that_the_provider_ends_at_the_jobs_deadline_fails_it_with_the_deadlines_own_code(driver, left):
    job_id = await driver.reach(State.SUBMITTED)
    await driver.set(job_id, f"deadline_at = now() + interval '{left}'")
    await driver.apply(job_id, "canceled", code="provider_timeout")
    row = await driver.row(job_id)
    assert (row["state"], row["error_code"]) == ("failed", "deadline_exceeded")
    assert "deadline passed" in row["error_message"]


async def test_a_provider_that_cancels_unasked_fails_the_job_and_one_that_aborts_costs_no_attempt(driver):
    canceled, aborted = await driver.reach(State.SUBMITTED), await driver.reach(State.SUBMITTED)
    await driver.apply(canceled, "canceled")
    await driver.apply(aborted, "aborted")
    row = await driver.row(canceled)
    assert (row["state"], row["error_code"]) == ("failed", "provider_timeout")
    row = await driver.row(aborted)
    assert (row["state"], row["attempt"]) == ("queued", 0)


async def test_what_stays_unknown_to_the_end_fails_and_is_not_paid_again(driver):
    job_id = await driver.reach(State.UNKNOWN)
    await driver.set(job_id, "unknown_since = now() - interval '51 min'")
    await driver.store.sweep()
    row = await driver.row(job_id)
    assert (row["state"], row["error_code"]) == ("failed", "outcome_unknown")


async def test_heartbeats_extend_what_they_name_and_tell_what_is_lost(driver):
    kept, lost = await driver.reach(State.SUBMITTED), await driver.reach(State.SUBMITTED)
    for job_id in (kept, lost):
        await driver.set(job_id, "lease_until = now() - interval '1 s'")
    await driver.store.heartbeat([(driver.worker, kept, 1, 0.5, "processing")])
    await driver.store.sweep()
    rows = [await driver.row(job_id) for job_id in (kept, lost)]
    assert [row["lease_worker"] for row in rows] == [driver.worker, None]
    assert rows[0]["progress"] == 0.5
    assert await driver.claim(lost, uuid4())
    answers = await driver.store.heartbeat([(driver.worker, lost, 1, None, None)])
    assert [answer["lost"] for answer in answers] == [True]


async def test_a_heartbeat_that_was_under_way_does_not_revive_a_lease_that_was_given_back(driver):
    job_id = await driver.reach(State.SUBMITTED)
    await driver.apply(job_id, "release")
    await driver.store.heartbeat([(driver.worker, job_id, 1, 0.5, "processing")])
    assert (await driver.row(job_id))["lease_worker"] is None
    assert (await driver.claim(job_id, uuid4()))["verb"] == "attach"


async def test_reports_of_many_jobs_in_crossed_orders_do_not_deadlock(driver):
    await driver.fill(5000)  # so many that a batch's rows are looked up one by one, in whatever order the plan has them
    ids = [row["id"] for row in await driver.database.fetch("SELECT id FROM jobs ORDER BY random() LIMIT 300")]

    async def send(order):
        return await driver.store.transition([Report(one, "cancel", "test") for one in order])

    orders = [ids, ids[::-1], ids[::7], ids[150:], ids[100:200][::-1], ids[:250][::5], ids[::-3]]  # planned in several ways
    with capture_logs() as logs:
        outcomes = await asyncio.gather(*[send(order) for order in orders * 4])
    assert [log["event"] for log in logs] == []  # neither repeated nor sent one by one, which would hide it
    assert {one["result"] for batch in outcomes for one in batch} == {"ok"}


async def test_outputs_of_a_failure_are_kept(driver):
    job_id = await driver.reach(State.SUBMITTED)
    await driver.apply(job_id, "fail", code="output_truncated", message="cut", outputs=OUTPUTS)
    row = await driver.row(job_id)
    assert (row["state"], row["media_path"]) == ("failed", "out/a.png")


async def test_a_prediction_past_its_jobs_deadline_is_still_handed_out_so_that_it_is_canceled(driver):
    job_id = await driver.reach(State.SUBMITTED)
    await driver.apply(job_id, "release")
    await driver.set(job_id, "deadline_at = now() - interval '1 s'")
    await driver.store.sweep()
    granted = await driver.claim(job_id)
    assert (granted["verb"], granted["cancel_requested"]) == ("attach", True)
    assert await driver.claim(await driver.add(deadline=-1)) is None


async def test_a_late_answer_to_a_ruled_out_create_is_an_orphan_beside_the_attempt_that_took_its_number(driver):
    job_id = await driver.reach(State.SUBMITTING)
    late = (await driver.row(job_id))["intent_id"]
    await driver.apply(job_id, "not_sent")
    await driver.set(job_id, "not_before = now()")
    assert await driver.claim(job_id)
    await driver.apply(job_id, "intend")
    await driver.apply(job_id, "created", prediction_ids="second")
    outcome = await driver.apply(job_id, "created", intent_id=late, epoch=1, prediction_ids="first")
    assert outcome["result"] == "orphan"
    assert (await driver.row(job_id))["prediction_id"] == "second"


async def test_no_create_is_authorised_past_the_deadline(driver):
    job_id = await driver.reach(State.CLAIMED)
    await driver.set(job_id, "deadline_at = now() - interval '1 s'")
    assert (await driver.apply(job_id, "intend"))["result"] == "canceled"
    await driver.store.sweep()
    row = await driver.row(job_id)
    assert (row["state"], row["error_code"], row["attempt"]) == ("failed", "deadline_exceeded", 0)


async def test_one_death_of_a_worker_is_no_crash_loop_to_the_jobs_owner(driver):
    job_id = await driver.reach(State.CLAIMED)
    await driver.set(job_id, "lease_until = now() - interval '1 s'")
    await driver.store.sweep()
    row = await driver.row(job_id)
    assert (row["state"], row["error_code"]) == ("queued", None)


async def test_an_unknown_outcome_keeps_its_code_past_the_deadline(driver):
    job_id = await driver.reach(State.UNKNOWN)
    await driver.set(job_id, "deadline_at = now() - interval '1 s'")
    await driver.store.sweep()
    await driver.set(job_id, "unknown_since = now() - interval '51 min'")
    await driver.store.sweep()
    assert (await driver.row(job_id))["error_code"] == "outcome_unknown"


async def test_an_answer_to_an_unknown_create_whose_prediction_a_twin_has_is_taken(driver):
    twin, job_id = await driver.reach(State.SUBMITTED), await driver.reach(State.UNKNOWN)
    theirs = (await driver.row(twin))["prediction_id"]
    assert (await driver.apply(job_id, "created", prediction_ids=theirs))["result"] == "taken"
    assert (await driver.row(job_id))["state"] == "unknown"


async def test_a_look_up_counts_by_when_it_began_however_late_and_often_it_is_reported(driver):
    """A report whose answer is lost renews the look-up: repeated, it must not pass for a later sighting."""
    job_id = await driver.reach(State.UNKNOWN)
    await driver.set(
        job_id,
        "settle_at = now() - interval '1 s', lookup_begun_at = now() - interval '20 s', first_empty_at = now() - interval '80 s'",
    )
    begun = await driver.begun_at(job_id)
    for _ in range(2):
        outcome = await driver.apply(job_id, "empty", lookup_begun_at=begun)
        assert outcome["result"] == "too_early"
    assert outcome["lookup_begun_at"] == await driver.begun_at(job_id) > begun
    for _ in range(2):
        assert (await driver.apply(job_id, "found", prediction_ids="early", lookup_begun_at=begun))["result"] == "too_early"
    assert (await driver.apply(job_id, "empty", lookup_begun_at=await driver.begun_at(job_id)))["result"] == "ok"


async def test_a_match_that_a_twin_bound_after_the_list_was_read_does_not_rule_the_create_out(driver):
    """The twin may have taken this job's own prediction, and made its own too late for this list: that one is to be found now."""
    job_id, twin = await driver.reach(State.UNKNOWN), await driver.reach(State.UNKNOWN)
    for one in (job_id, twin):
        await driver.set(
            one, "settle_at = now() - interval '2 min', first_empty_at = now() - interval '1 min', lookup_begun_at = now()"
        )
    begun = await driver.begun_at(job_id)
    assert (await driver.apply(twin, "found", prediction_ids="first,second"))["result"] == "ok"
    assert (await driver.apply(job_id, "found", prediction_ids="first", lookup_begun_at=begun))["result"] == "taken"
    outcome = await driver.apply(job_id, "found", prediction_ids="first,second", lookup_begun_at=await driver.begun_at(job_id))
    assert (outcome["result"], outcome["prediction_id"]) == ("ok", "second")
