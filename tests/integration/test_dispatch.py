"""Who is next: the relay's window, fairness between tenants, priorities, the lane's budget and its pauses."""

import asyncio
import json
import time
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from driver import Driver, driving, rows_read
from jobs.states import State
from jobs.store import ClaimCall


@pytest_asyncio.fixture
async def driver(postgres_url):
    async with driving(postgres_url) as ready:
        yield ready


def approx(seconds):
    """So long from now on, as it was read a moment later: a busy machine takes its time between two statements."""
    return pytest.approx(seconds, abs=2)


async def note_worker(driver: Driver, slots: int, no_creates: bool = False):
    return await driver.store.note_workers([(uuid4(), slots, slots, no_creates, 0, False)])


async def test_the_relay_rings_only_as_far_ahead_as_generators_have_slots(driver):
    for _ in range(10):
        await driver.add()
    assert (await driver.store.ring())[2] == []  # no generator, no bell
    await note_worker(driver, slots=4)
    credit, backlog, rung = await driver.store.ring()
    assert (credit, backlog, len(rung)) == (0, True, 4)
    assert len((await driver.store.ring())[2]) == 0  # those four are not claimed yet
    assert await driver.claim(UUID(rung[0][0]))
    assert len((await driver.store.ring())[2]) == 1


async def test_a_ring_that_was_lost_is_repeated_and_each_rests_longer(driver):
    await note_worker(driver, slots=4)
    job_id = await driver.add()
    rests = []
    for _ in range(3):
        assert [ring.job_id for ring in (await driver.store.ring())[2]] == [str(job_id)]
        row = (await driver.database.fetch("SELECT next_dispatch_at - now() AS rest FROM jobs"))[0]
        rests.append(row["rest"].total_seconds())
        await driver.set(job_id, "next_dispatch_at = now()")
    assert rests == approx([30, 60, 120])


async def test_new_jobs_have_no_credit_while_older_ones_are_due(driver):
    await note_worker(driver, slots=2)
    for _ in range(3):
        await driver.add()
    credit, backlog, _ = await driver.store.ring()
    assert (credit, backlog) == (0, True)


async def test_one_tenants_backlog_does_not_starve_another(driver):
    other = await driver.add_tenant("other")
    for _ in range(50):
        await driver.add()
    theirs = {str(await driver.add(tenant=other)) for _ in range(3)}
    granted = await driver.store.claim_due(uuid4(), 6, False)
    assert sum(str(row["job_id"]) in theirs for row in granted) == 3
    assert len(granted) == 6


async def test_priority_goes_first_within_a_tenant_and_age_within_a_priority(driver):
    order = {
        name: await driver.add(priority=priority) for name, priority in (("old", 0), ("young", 0), ("urgent", 5), ("idle", -5))
    }
    claimed = []
    for _ in order:
        claimed += [row["job_id"] for row in await driver.store.claim_due(uuid4(), 1, False)]
    assert claimed == [order["urgent"], order["old"], order["young"], order["idle"]]


async def test_where_no_ring_is_heard_a_look_tells_how_things_stand_and_marks_nothing(driver):
    await note_worker(driver, slots=4)
    assert await driver.store.ring(heard=False) == (4, False, [])
    job_id = await driver.add()
    before = await driver.row(job_id)
    assert await driver.store.ring(heard=False) == (4, True, [])
    assert await driver.row(job_id) == before


async def test_a_claim_grants_at_most_its_slots_and_makes_the_rest_due_at_once(driver):
    await note_worker(driver, slots=10)
    ids = [await driver.add() for _ in range(5)]
    await driver.store.ring()
    granted = (await driver.store.claim([ClaimCall(uuid4(), tuple(ids), 2, False)]))[0]
    assert len(granted) == 2
    rows = await driver.database.fetch(
        "SELECT count(*) AS due FROM jobs WHERE state = 'queued' AND next_dispatch_at <= now() AND rings = 0"
    )
    assert rows[0]["due"] == 3


async def test_claims_of_several_workers_in_one_statement_never_share_a_job(driver):
    ids = [await driver.add() for _ in range(6)]
    calls = [ClaimCall(uuid4(), tuple(ids), 4, False) for _ in range(3)]
    granted = await driver.store.claim(calls)
    taken = [row["job_id"] for rows in granted for row in rows]
    assert len(taken) == len(set(taken))


async def test_a_worker_whose_bucket_refuses_writes_gets_no_creates_but_follows_predictions(driver):
    fresh, followed = await driver.add(), await driver.reach(State.SUBMITTED)
    await driver.apply(followed, "release")
    granted = await driver.store.claim_due(uuid4(), 10, True)
    assert [row["job_id"] for row in granted] == [followed]
    assert (await driver.row(fresh))["state"] == "queued"


async def test_the_accounts_creates_are_a_budget_that_all_workers_share(postgres_url):
    async with driving(postgres_url, creates_per_minute=60) as driver:
        for _ in range(30):
            await driver.add()
        began = time.monotonic()
        granted = [len(await driver.store.claim_due(uuid4(), 8, False)) for _ in range(4)]
        assert 3 <= sum(granted) <= 3 + (time.monotonic() - began)  # a burst of three seconds' worth, then one a second
        await driver.database.fetch("UPDATE lanes SET creates_refilled_at = now() - interval '3 s', create_tokens = 0")
        assert len(await driver.store.claim_due(uuid4(), 8, False)) == 3


async def test_402_pauses_the_lane_and_its_jobs_keep_their_place_until_it_resumes(driver):
    job_id, waiting = await driver.reach(State.SUBMITTING), await driver.add()
    followed = await driver.reach(State.SUBMITTED)
    await driver.apply(followed, "release")
    await driver.apply(job_id, "account", code="insufficient_credit", http_status=402)
    row = await driver.row(job_id)
    assert (row["state"], row["attempt"], row["wait_reason"]) == ("queued", 0, "lane_paused")
    granted = await driver.store.claim_due(uuid4(), 10, False)
    assert [one["job_id"] for one in granted] == [followed]  # what is paid for is followed all the same
    await driver.database.fetch("UPDATE lanes SET paused_until = now() - interval '1 s'")
    granted = {one["job_id"] for one in await driver.store.claim_due(uuid4(), 10, False)}
    assert granted == {job_id, waiting}


async def test_each_pause_in_a_row_is_longer_and_a_creation_ends_the_row(driver):
    rests = []
    for _ in range(3):
        job_id = await driver.reach(State.SUBMITTING)
        await driver.apply(job_id, "account", code="insufficient_credit")
        lane = (await driver.database.fetch("SELECT paused_until - now() AS rest, pauses FROM lanes"))[0]
        rests.append(lane["rest"].total_seconds())
        await driver.database.fetch("UPDATE lanes SET paused_until = now() - interval '1 s'")
    assert rests == approx([60, 120, 240])
    job_id = await driver.reach(State.SUBMITTING)
    await driver.apply(job_id, "created")
    assert (await driver.database.fetch("SELECT pauses FROM lanes"))[0]["pauses"] == 0


async def test_many_refusals_at_once_are_one_pause(driver):
    from jobs.store import Report

    ids = [await driver.reach(State.SUBMITTING) for _ in range(5)]
    rows = [await driver.row(job_id) for job_id in ids]
    await driver.store.transition(
        [
            Report(row["id"], "account", "test", driver.worker, row["epoch"], row["intent_id"], code="insufficient_credit")
            for row in rows
        ]
    )
    assert (await driver.database.fetch("SELECT pauses FROM lanes"))[0]["pauses"] == 1


async def test_429_costs_no_attempt_and_rests_as_long_as_was_asked(driver):
    job_id = await driver.reach(State.SUBMITTING)
    await driver.apply(job_id, "rate_limit", delay=30.0, http_status=429)
    row = (await driver.database.fetch("SELECT attempt, state, not_before - now() AS rest FROM jobs WHERE id = $1", job_id))[0]
    assert (row["state"], row["attempt"]) == ("queued", 0)
    assert row["rest"].total_seconds() > 28
    assert await driver.claim(job_id) is None


async def test_reads_are_shared_between_workers_and_come_back_with_time(driver):
    workers = [uuid4() for _ in range(2)]
    notes = [(worker, 10, 10, False, 10_000, False) for worker in workers]
    allowances = await driver.store.note_workers(notes)
    assert 0 < sum(allowances.values()) <= 500  # ten seconds' worth of 3,000 a minute at once
    assert max(allowances.values()) <= 500
    began = time.monotonic()
    await driver.store.note_workers(notes)
    assert sum((await driver.store.note_workers(notes)).values()) < 50 * (1 + time.monotonic() - began)


async def test_a_leaving_worker_is_forgotten_at_once(driver):
    worker = uuid4()
    await driver.store.note_workers([(worker, 10, 10, False, 0, False)])
    await driver.store.note_workers([(worker, 10, 0, False, 0, True)])
    assert await driver.database.fetch("SELECT id FROM workers") == []


async def test_a_claim_among_many_waiting_rows_reads_few_of_them(driver):
    await driver.fill(20_000)
    plan = await driver.database.fetch("EXPLAIN (ANALYZE, FORMAT JSON) " + driver.store._sql.claim_due, uuid4(), 10, False, [])
    explained = plan[0]["QUERY PLAN"]
    explained = json.loads(explained) if isinstance(explained, str) else explained
    assert rows_read(explained[0]["Plan"]) < 1000
    assert (await driver.database.fetch("SELECT count(*) AS claimed FROM jobs WHERE state = 'claimed'"))[0]["claimed"] == 10


async def test_a_released_prediction_is_rung_for_at_once_and_claimed_by_its_bell(driver):
    await note_worker(driver, slots=4)
    ids = [await driver.reach(State.SUBMITTED) for _ in range(30)]
    for job_id in ids:
        await driver.apply(job_id, "release")
    _, _, rung = await driver.store.ring()
    assert {UUID(ring.job_id) for ring in rung} == set(ids)
    granted = (await driver.store.claim([ClaimCall(uuid4(), tuple(ids), 90, False)]))[0]
    assert [row["verb"] for row in granted] == ["attach"] * 30


async def test_with_one_token_at_a_time_every_tenant_and_priority_still_gets_its_turn(postgres_url):
    async with driving(postgres_url, creates_per_minute=60) as driver:
        other = await driver.add_tenant("other")
        await driver.fill(300)  # older than all that follows
        urgent, theirs = await driver.add(priority=10), await driver.add(tenant=other)
        claimed = set()
        for _ in range(30):
            await driver.database.fetch("UPDATE lanes SET create_tokens = 1, creates_refilled_at = now()")
            claimed |= {row["job_id"] for row in await driver.store.claim_due(uuid4(), 1, False)}
        assert len(claimed) == 30
        assert {urgent, theirs} <= claimed


async def test_an_account_pause_outlasts_a_rate_limit_and_a_longer_wait_that_replicate_asked_for_counts(driver):
    async def refuse(verb: str, **fields) -> tuple[str, float]:
        await driver.apply(await reach_submitting(driver), verb, **fields)
        lane = (await driver.database.fetch("SELECT paused_reason, paused_until - now() AS rest FROM lanes"))[0]
        return lane["paused_reason"], lane["rest"].total_seconds()

    assert await refuse("rate_limit") == ("rate_limit", approx(2))
    assert await refuse("rate_limit", delay=45.0) == ("rate_limit", approx(45))
    assert await refuse("account", code="insufficient_credit") == ("insufficient_credit", approx(60))
    assert await refuse("rate_limit") == ("insufficient_credit", approx(60))


async def reach_submitting(driver: Driver) -> UUID:
    """A job whose create is under way, whatever the lane says."""
    lane = (await driver.database.fetch("SELECT paused_until FROM lanes"))[0]
    await driver.database.fetch("UPDATE lanes SET paused_until = NULL")
    job_id = await driver.reach(State.SUBMITTING)
    await driver.database.fetch("UPDATE lanes SET paused_until = $1", lane["paused_until"])
    return job_id


async def test_a_create_is_accepted_while_a_claim_holds_the_lane(driver):
    async with driver.database.engine.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        transaction = raw.transaction()
        await transaction.start()
        await raw.fetch("SELECT FROM lanes FOR NO KEY UPDATE")
        async with asyncio.timeout(2):
            await driver.add()
        await transaction.rollback()


async def test_a_claim_whose_answer_was_lost_is_answered_again_with_the_same_grant(driver):
    job_id = await driver.add()
    first, again = await driver.claim(job_id), await driver.claim(job_id)
    assert (again["epoch"], again["input"], again["verb"]) == (first["epoch"], first["input"], "claim")
    assert await driver.claim(job_id, uuid4()) is None
    await driver.apply(job_id, "intend")
    assert await driver.claim(job_id) is None


async def test_a_claim_with_intents_records_them_and_only_its_own_repeat_is_granted_them_again(driver):
    job_id, intent_id = await driver.add(), uuid4()
    first = await driver.claim(job_id, intent_id=intent_id)
    assert (first["verb"], first["intent_id"], first["state"], bytes(first["signing_secret"])) == (
        "begin",
        intent_id,
        "submitting",
        b"secret",
    )
    [submission] = await driver.submissions(job_id)
    assert (submission["intent_id"], submission["state"], submission["epoch"]) == (intent_id, "intent", 1)
    again = await driver.claim(job_id, intent_id=intent_id)
    same = ("verb", "epoch", "intent_id", "input", "model", "signing_secret")
    assert [again[name] for name in same] == [first[name] for name in same]
    assert await driver.claim(job_id, intent_id=uuid4()) is None, "its POST may be on its way"
    assert await driver.claim(job_id) is None
    assert await driver.claim(job_id, uuid4(), intent_id) is None
    assert (await driver.row(job_id))["version"] == first["epoch"] + 1
    await driver.apply(job_id, "created")
    assert await driver.claim(job_id, intent_id=intent_id) is None


async def test_of_two_claims_of_one_job_in_a_moment_the_later_is_granted_it(driver):
    job_id, intent = await driver.add(), (uuid4(),)
    dead, live = (ClaimCall(driver.worker, (job_id,), 1, False, intent) for _ in range(2))
    nothing, [granted] = await driver.store.claim([dead, live])
    assert (nothing, granted["job_id"]) == ([], job_id)


async def test_an_intent_that_was_used_before_gets_no_other_job_and_spoils_no_other_claim(driver):
    used, intent = await driver.add(), uuid4()
    await driver.claim(used, intent_id=intent)
    await driver.apply(used, "not_sent", intent_id=intent)
    other, beside = await driver.add(), await driver.add()
    wrong = ClaimCall(driver.worker, (other,), 1, False, (intent,))
    right = ClaimCall(uuid4(), (beside,), 1, False, (uuid4(),))
    nothing, [granted] = await driver.store.claim([wrong, right])
    assert (nothing, granted["job_id"]) == ([], beside)
    assert (await driver.row(other))["state"] == "queued"


async def test_a_claim_of_what_is_due_that_is_repeated_is_granted_what_it_was_granted_before(driver):
    for _ in range(3):
        await driver.add()
    intents = [uuid4() for _ in range(4)]
    first = await driver.store.claim_due(driver.worker, 4, False, intents)
    later = await driver.add()
    *again, last = await driver.store.claim_due(driver.worker, 4, False, intents)
    grants = [{(row["job_id"], row["epoch"], row["intent_id"]) for row in rows} for rows in (first, again)]
    assert grants[0] == grants[1]
    assert all(row["intent_age"] > 0 for row in again)
    assert not any(row["intent_age"] for row in first)
    assert last["job_id"] == later  # in the slot that was left
    assert await driver.store.claim_due(uuid4(), 4, False, [uuid4() for _ in range(4)]) == []


async def test_two_tries_at_once_of_one_claim_of_what_is_due_are_granted_the_same(driver):
    for _ in range(20):
        await driver.add()
    intents = [uuid4() for _ in range(20)]
    tries = await asyncio.gather(*[driver.store.claim_due(driver.worker, 20, False, intents) for _ in range(3)])
    assert {frozenset(row["intent_id"] for row in rows) for rows in tries} == {frozenset(intents)}
    assert len({row["job_id"] for rows in tries for row in rows}) == 20


async def test_whatever_is_due_is_granted_with_an_intent_each(driver):
    made = [await driver.add() for _ in range(3)]
    attached = await driver.reach(State.SUBMITTED)
    await driver.set(attached, "lease_worker = NULL, lease_until = NULL, next_dispatch_at = now()")
    intents = [uuid4() for _ in range(4)]
    rows = await driver.store.claim_due(driver.worker, 4, False, intents)
    assert sorted(row["verb"] for row in rows) == ["attach", "begin", "begin", "begin"]
    begun = [row for row in rows if row["verb"] == "begin"]
    assert {row["job_id"] for row in begun} == set(made)
    assert len({row["intent_id"] for row in begun} & set(intents)) == 3
