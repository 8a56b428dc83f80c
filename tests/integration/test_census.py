"""The gauges that only the database knows: right, cheap however many jobs there are, and honest where it does not answer."""

import math
import time
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

import ports
from driver import Driver, driving, rows_read
from jobs import census
from jobs.census import MOST_COUNTED, Census
from jobs.database import Database
from jobs.states import State
from waiting import until

LEASE = 30.0
SETTLE = 62.0


@pytest.fixture
async def driver(postgres_url):
    async with driving(postgres_url, creates_per_minute=600) as started:
        yield started


async def gauges(driver: Driver) -> "Gauges":
    """The gauges as they are now."""
    await Census(driver.database, LEASE, SETTLE).refresh()
    return Gauges()


class Gauges:
    def __getitem__(self, name: str) -> float:
        value = REGISTRY.get_sample_value(f"mediagen_{name}")
        assert value is not None, name
        return value

    def labelled(self, name: str, **labels: str) -> float:
        value = REGISTRY.get_sample_value(f"mediagen_{name}", labels)
        assert value is not None, name
        return value

    @property
    def states(self) -> dict[str, float]:
        return {state: self.labelled("jobs_in_state", state=state) for state in census.STATES}


async def test_nothing_is_zero(driver):
    shown = await gauges(driver)
    assert set(shown.states.values()) == {0}
    for name in ("jobs_oldest_waiting_seconds", "jobs_oldest_running_seconds", "jobs_oldest_unknown_seconds", "workers"):
        assert shown[name] == 0
    assert (shown["jobs_relay_lag_seconds"], shown["jobs_unfinished"], shown["db_up"]) == (0, 0, 1)
    assert shown["db_schema_revision"] == shown["db_schema_revision_of_code"] >= 2


async def test_unfinished_jobs_are_counted_by_their_state_and_finished_ones_are_not(driver):
    for state, jobs in {State.QUEUED: 3, State.CLAIMED: 1, State.SUBMITTING: 2, State.SUBMITTED: 1, State.UNKNOWN: 1}.items():
        for _ in range(jobs):
            await driver.reach(state)
    for state in (State.SUCCEEDED, State.FAILED, State.CANCELED):
        await driver.reach(state)
    left = await driver.reach(State.SUBMITTED)  # whoever followed it gave it back
    assert (await driver.apply(left, "release"))["result"] == "ok"
    shown = await gauges(driver)
    assert shown.states == {"queued": 3, "claimed": 1, "submitting": 2, "submitted": 2, "unknown": 1}
    assert shown["jobs_unfinished"] == 9


async def test_the_oldest_are_found_among_all_tenants_and_priorities(driver):
    other = await driver.add_tenant("other")
    for tenant, priority, age in ((driver.tenant, 5, 10), (other, 5, 20), (other, -3, 300), (driver.tenant, 0, 30)):
        job_id = await driver.add(tenant, priority=priority)
        past = f"now() - interval '{age} s'"
        await driver.set(job_id, f"not_before = {past}, next_dispatch_at = {past}")
    running = await driver.reach(State.SUBMITTED)
    await driver.set(running, "started_at = now() - interval '500 s', settle_at = now() - interval '338 s'")
    refused = await driver.reach(State.CLAIMED)  # once, hours ago, and claimed again: nothing of it can be lost
    await driver.set(refused, "started_at = now() - interval '450 s', settle_at = now() - interval '9000 s'")
    unknown = await driver.reach(State.UNKNOWN)
    await driver.set(unknown, "unknown_since = now() - interval '200 s'")
    shown = await gauges(driver)
    assert shown["jobs_oldest_waiting_seconds"] == pytest.approx(300, abs=60)
    assert shown["jobs_relay_lag_seconds"] == pytest.approx(300, abs=60)
    assert shown["jobs_oldest_running_seconds"] == pytest.approx(500, abs=60)
    assert shown["jobs_oldest_prediction_seconds"] == pytest.approx(400, abs=60)
    assert shown["jobs_oldest_unknown_seconds"] == pytest.approx(200, abs=60)


async def test_a_job_that_was_rung_for_waits_but_not_for_the_relay(driver):
    rung = await driver.add()
    await driver.set(rung, "not_before = now() - interval '100 s', rings = 1, next_dispatch_at = now() + interval '20 s'")
    shown = await gauges(driver)
    assert shown["jobs_relay_lag_seconds"] == 0
    assert shown["jobs_oldest_waiting_seconds"] == pytest.approx(100, abs=60)


async def test_a_paused_lane_says_why_and_what_its_budget_is(driver):
    shown = await gauges(driver)
    assert all(shown.labelled("lane_paused", lane="default", reason=reason) == 0 for reason in census.REASONS)
    assert shown.labelled("lane_creates_left", lane="default") == 30
    await driver.database.fetch(
        "UPDATE lanes SET paused_until = now() + interval '1 h', paused_reason = 'insufficient_credit', create_tokens = 3"
    )
    shown = await gauges(driver)
    paused = {reason: shown.labelled("lane_paused", lane="default", reason=reason) for reason in census.REASONS}
    assert paused.pop("insufficient_credit") == 1
    assert set(paused.values()) == {0}
    assert shown.labelled("lane_creates_left", lane="default") == 3
    assert shown.labelled("lane_creates_per_minute", lane="default") == 600
    assert shown.labelled("lane_reads_left", lane="default") == pytest.approx(500)


async def test_a_reason_that_nobody_knows_is_other(driver):
    await driver.database.fetch("UPDATE lanes SET paused_until = now() + interval '1 h', paused_reason = 'of a later version'")
    shown = await gauges(driver)
    assert shown.labelled("lane_paused", lane="default", reason="other") == 1


async def test_workers_count_while_their_heartbeats_are_younger_than_a_lease(driver):
    await driver.store.note_workers([(uuid4(), 100, 60, False, 0, False), (uuid4(), 50, 50, True, 0, False)])
    gone = uuid4()
    await driver.store.note_workers([(gone, 1000, 1000, False, 0, False)])
    await driver.database.fetch("UPDATE workers SET heartbeat_at = now() - interval '31 s' WHERE id = $1", gone)
    shown = await gauges(driver)
    assert (shown["workers"], shown["workers_refusing_creates"]) == (2, 1)
    assert (shown["worker_slots"], shown["worker_slots_free"]) == (150, 110)


async def test_many_waiting_and_many_finished_jobs_are_not_read(driver):
    # The finished ones lie before the others: whoever reads the table from its beginning meets all of them.
    await driver.database.fetch(
        "INSERT INTO jobs (id, tenant_id, prompt, model, parameters, request, fingerprint, max_attempts, deadline_at, state, "
        "outputs, finished_at) SELECT gen_random_uuid(), $1, 'p', 'a/b', '{}', '{}', 'x', 4, now(), 'succeeded', '[]', now() "
        "FROM generate_series(1, 20000)",
        driver.tenant,
    )
    await driver.fill(30_000)
    plan = (await driver.database.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {Census(driver.database, LEASE, SETTLE)._statement}"))[0][
        0
    ]
    assert rows_read(plan[0]["Plan"]) < MOST_COUNTED + 200
    shown = await gauges(driver)
    assert shown.states["queued"] == pytest.approx(30_000, rel=0.2)  # an estimate, which sampled statistics make


async def test_what_was_read_is_shown_for_some_seconds(driver, monkeypatch):
    asked = Census(driver.database, LEASE, SETTLE)
    await asked.refresh()
    await driver.add()
    await asked.refresh()
    assert Gauges().states["queued"] == 0
    monkeypatch.setattr(census, "FRESH_SECONDS", 0.0)
    await asked.refresh()
    assert Gauges().states["queued"] == 1


async def test_where_the_database_does_not_answer_nothing_is_claimed_to_be_known():
    database = Database(f"postgresql://u:p@127.0.0.1:{ports.any_free_port()}/d", pool_size=2)
    began = time.monotonic()
    await Census(database, LEASE, SETTLE).refresh()
    assert time.monotonic() - began < 4 * census.PATIENCE_SECONDS
    shown = Gauges()
    assert shown["db_up"] == 0
    assert all(map(math.isnan, [*shown.states.values(), shown["jobs_oldest_waiting_seconds"]]))
    assert REGISTRY.get_sample_value("mediagen_jobs_unfinished") is None, "KEDA takes NaN for 0, and ends every generator"
    await database.close()


async def test_generators_are_scaled_on_what_was_counted_last_while_nobody_can_count(driver, monkeypatch):
    monkeypatch.setattr(census, "FRESH_SECONDS", 0.0)
    asked = Census(driver.database, LEASE, SETTLE)
    for _ in range(3):
        await driver.add()
    await asked.refresh()
    async with driver.database.connected() as other:
        await other.exec_driver_sql("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        await asked.refresh()
        shown = Gauges()
        assert shown["jobs_unfinished"] == 3 and math.isnan(shown.states["queued"])
        await other.rollback()
    await asked.refresh()
    assert Gauges().states["queued"] == 3


async def test_a_database_that_answers_is_up_though_a_table_is_locked_and_the_pool_used_up(driver, postgres_url):
    only = Database(postgres_url, pool_size=1)
    asked = Census(only, LEASE, SETTLE)
    async with driver.database.connected() as other, only.connected():
        await other.exec_driver_sql("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        await asked.refresh()
        shown = Gauges()
        assert shown["db_up"] == 1 and math.isnan(shown.states["queued"])
        running = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mediagen-jobs: census'"
        await until(lambda: nobody(other, running), 5, what="the statement that nobody waits for to end")
        await other.rollback()
    await Census(only, LEASE, SETTLE).refresh()
    assert Gauges()["jobs_unfinished"] == 0, "it is shown again"
    await only.close()


async def nobody(connection, running: str) -> bool:
    return (await connection.exec_driver_sql(running)).scalar() == 0
