"""What is counted of jobs: each change once, when it is committed, and under labels that stay few. And what statements wait for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from chassis.errors import AppError
from driver import driving
from jobs.database import Database
from jobs.states import State


@pytest.fixture
async def driver(postgres_url):
    async with driving(postgres_url) as started:
        yield started


class Since:
    """How much each series has grown since this was made."""

    def __init__(self) -> None:
        self._before = self._now()

    def _now(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        samples = [sample for metric in REGISTRY.collect() for sample in metric.samples]
        return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}

    def __call__(self, name: str, **labels: Any) -> float:
        wanted = (f"mediagen_{name}", tuple(sorted((key, str(value)) for key, value in labels.items())))
        return self._now().get(wanted, 0) - self._before.get(wanted, 0)

    def transitions(self) -> dict[tuple[str, str, str], float]:
        """Every transition that was counted: (verb, from, to)."""
        grown = {}
        for (name, labels), value in self._now().items():
            if name == "mediagen_jobs_transitions_total" and (more := value - self._before.get((name, labels), 0)):
                of = dict(labels)
                grown[of["verb"], of["from_state"], of["to_state"]] = more
        return grown


async def test_the_way_of_a_job_is_counted_step_by_step(driver):
    since = Since()
    await driver.reach(State.SUCCEEDED)
    assert since.transitions() == {
        ("claim", "queued", "claimed"): 1,
        ("intend", "claimed", "submitting"): 1,
        ("created", "submitting", "submitted"): 1,
        ("complete", "submitted", "succeeded"): 1,
    }
    assert since("jobs_finished_total", status="completed") == 1
    assert since("job_duration_seconds_count", model="a/b") == 1
    assert since("job_wait_seconds_count") == 1
    assert (since("jobs_claim_batch_count"), since("jobs_claim_batch_sum")) == (1, 1)
    assert since("jobs_report_batch_count") == 3


async def test_a_claim_with_its_intent_is_counted_as_one_step(driver):
    since = Since()
    await driver.claim(await driver.add(), intent_id=uuid4())
    assert since.transitions() == {("begin", "queued", "submitting"): 1}
    assert (since("job_wait_seconds_count"), since("jobs_claim_batch_sum")) == (1, 1)


async def test_a_report_that_comes_twice_is_one_change(driver):
    job_id = await driver.reach(State.SUCCEEDED)
    since = Since()
    assert (await driver.apply(job_id, "complete"))["result"] == "ok"
    assert since.transitions() == {}
    assert since("jobs_finished_total", status="completed") == 0


async def test_a_stale_report_changes_and_counts_nothing(driver):
    job_id = await driver.reach(State.SUBMITTED)
    since = Since()
    assert (await driver.apply(job_id, "complete", epoch=99))["result"] == "stale"
    assert since.transitions() == {}


async def test_a_create_of_unknown_outcome_and_a_lease_that_expired_are_told_apart(driver):
    lost, crashed = await driver.reach(State.SUBMITTING), await driver.reach(State.SUBMITTING)
    since = Since()
    await driver.apply(lost, "lost")
    await driver.set(crashed, "lease_until = now() - interval '1 s'")
    assert [row["job_id"] for row in (await driver.store.sweep())["expire"]] == [crashed]
    assert since.transitions() == {("lost", "submitting", "unknown"): 1, ("expire", "submitting", "unknown"): 1}


@pytest.mark.parametrize(("code", "shown"), [("model_oom", "model_oom"), ("of a later version", "other")])
async def test_a_failure_is_counted_by_its_code_where_that_is_known(driver, code, shown):
    job_id = await driver.reach(State.SUBMITTED)
    since = Since()
    await driver.apply(job_id, "fail", code=code)
    assert since("jobs_failed_total", error_code=shown) == since("jobs_finished_total", status="failed") == 1


@asynccontextmanager
async def closing(database: Database) -> AsyncIterator[Database]:
    try:
        yield database
    finally:
        await database.close()


async def test_each_wait_for_a_connection_is_counted_however_it_ends(postgres_url, monkeypatch):
    async with closing(Database(postgres_url, pool_size=1)) as database:
        monkeypatch.setattr(database.engine.sync_engine.pool, "_timeout", 0.3)

        async def through_sqlalchemy() -> None:
            async with database.connected() as connection:
                await connection.execute(text("SELECT 1"))

        for ask in (lambda: database.fetch("SELECT 1"), through_sqlalchemy):
            since = Since()
            await ask()
            assert (since("db_pool_wait_seconds_count"), since("db_pool_wait_seconds_bucket", le=0.25)) == (1, 1)
        async with database.connected():
            for ask in (lambda: database.fetch("SELECT 1"), through_sqlalchemy):
                since = Since()
                with pytest.raises(AppError):
                    await ask()
                assert (since("db_pool_wait_seconds_count"), since("db_pool_wait_seconds_bucket", le=0.25)) == (1, 0)
                assert since("db_pool_wait_seconds_sum") >= 0.25
