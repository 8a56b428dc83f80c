"""One job in a generator: what it asks, what it pays, and what it reports."""

import asyncio
import dataclasses
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from generator import poller
from generator.held import Held
from generator.outcomes import Created, Refused, Unknown
from generator.run_job import run_job
from generator_doubles import TIMING, Bench, bench, held
from mediagen.jobs.v1 import worker_pb2 as pb
from waiting import holds, until


@pytest.fixture
async def on() -> AsyncIterator[Bench]:
    async with bench() as made:
        yield made


async def test_a_job_is_created_recorded_followed_stored_and_completed(on: Bench) -> None:
    running = asyncio.create_task(run_job(held(), on.tools))
    await until(lambda: on.jobs.entries("RecordPrediction"))
    assert not running.done()
    on.replicate.succeed("prediction-1")
    assert await running == "completed"
    assert on.replicate.posts == [("owner/name", '{"prompt":"p"}')]
    assert on.replicate.webhooks == [None]
    [intent], [created] = on.jobs.entries("RecordIntent"), on.jobs.entries("RecordPrediction")
    assert created.intent_id == intent.intent_id
    [completion] = on.jobs.entries("Complete")
    assert (completion.prediction_id, completion.outputs[0].value) == ("prediction-1", '"words"')


@pytest.mark.parametrize(("status", "verb"), [("succeeded", "Complete"), ("failed", "Fail")])
async def test_a_job_leaves_its_slot_before_its_end_is_reported_and_after_all_else(on: Bench, status: str, verb: str) -> None:
    told: list[str] = []
    job = held(pb.MODE_ATTACH, prediction_id="given")
    job.on_ending = lambda _: told.append("ending")

    def reported(_: Any) -> pb.Result.ValueType:
        told.append("reported")
        return pb.RESULT_OK

    on.jobs.answers[verb] = reported
    on.storing.wait.clear()
    on.replicate.make("given", status=status, output="words", error="E1001: it failed")
    running = asyncio.create_task(run_job(job, on.tools))
    if status == "succeeded":
        await until(lambda: on.replicate.gets or on.replicate.pages)
        await holds(lambda: not told, 0.2)
    on.storing.wait.set()
    await running
    assert told == ["ending", "reported"]


async def test_where_the_gateway_is_public_the_create_names_its_intent_in_a_webhook(on: Bench) -> None:
    running = asyncio.create_task(run_job(held(), dataclasses.replace(on.tools, public_url="https://example.com/")))
    await until(lambda: on.jobs.entries("RecordPrediction"))
    on.replicate.succeed("prediction-1")
    await running
    [intent] = on.jobs.entries("RecordIntent")
    assert on.replicate.webhooks == [f"https://example.com/webhooks/replicate/{intent.intent_id}?token=a-token"]


@pytest.mark.parametrize("result", [pb.RESULT_STALE, pb.RESULT_CANCELED])
async def test_without_an_intent_nothing_is_sent(on: Bench, result: int) -> None:
    on.jobs.answers["RecordIntent"] = result
    await run_job(held(), on.tools)
    assert on.replicate.posts == []


async def test_an_intent_that_took_too_long_is_not_used(on: Bench) -> None:
    def late(entry: pb.Intent) -> int:
        time.sleep(TIMING.send_by_seconds + 0.05)
        return pb.RESULT_OK

    on.jobs.answers["RecordIntent"] = late
    await run_job(held(), on.tools)
    assert on.replicate.posts == []
    [refusal] = on.jobs.entries("RecordRefusal")
    assert refusal.kind == pb.REFUSAL_KIND_NOT_SENT
    assert refusal.intent_id == on.jobs.entries("RecordIntent")[0].intent_id


async def test_without_a_recent_heartbeat_not_even_an_intent_is_asked_for(on: Bench) -> None:
    on.heard(ago=TIMING.lease_seconds * 2 / 3 + 0.1)
    running = asyncio.create_task(run_job(held(), on.tools))
    await holds(lambda: on.jobs.calls == [], seconds=0.3)
    on.heard()
    await until(lambda: on.replicate.posts)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def begun(**fields: Any) -> Held:
    """A job that was just granted with its intent."""
    return held(intent_id="granted-intent", cancel_after_seconds=60, webhook_token="its-token", **fields)


async def test_a_create_that_was_granted_with_its_intent_is_sent_by_it_and_asks_for_no_other(on: Bench) -> None:
    running = asyncio.create_task(run_job(begun(), dataclasses.replace(on.tools, public_url="https://example.com/")))
    await until(lambda: on.jobs.entries("RecordPrediction"))
    on.replicate.succeed("prediction-1")
    assert await running == "completed"
    assert on.jobs.entries("RecordIntent") == []
    assert on.jobs.entries("RecordPrediction")[0].intent_id == "granted-intent"
    assert on.replicate.webhooks == ["https://example.com/webhooks/replicate/granted-intent?token=its-token"]


def too_late(on: Bench, job: Held) -> None:
    job.asked_at -= TIMING.send_by_seconds + 0.1


def on_a_loose_leash(on: Bench, job: Held) -> None:
    on.heard(ago=TIMING.lease_seconds * 2 / 3 + 0.1)


def draining(on: Bench, job: Held) -> None:
    on.leash.drain()


def to_be_canceled(on: Bench, job: Held) -> None:
    job.ask_end()


def lost(on: Bench, job: Held) -> None:
    job.settled = True


def past_its_deadline(on: Bench, job: Held) -> None:
    job.grant.cancel_after_seconds = -0.1


def without_a_bucket(on: Bench, job: Held) -> None:
    on.bucket.usable.clear()


@pytest.mark.parametrize(
    ("now", "rest"),
    [
        *[(now, 0) for now in (too_late, on_a_loose_leash, draining, to_be_canceled, lost, past_its_deadline)],
        (without_a_bucket, 5),
    ],
)
async def test_an_intent_that_must_not_be_used_any_more_is_given_back_unpaid(on: Bench, now: Any, rest: float) -> None:
    job = begun()
    now(on, job)
    assert await run_job(job, on.tools) == "not_created"
    assert on.replicate.posts == []
    [refusal] = on.jobs.entries("RecordRefusal")
    assert (refusal.intent_id, refusal.kind) == ("granted-intent", pb.REFUSAL_KIND_NOT_SENT)
    assert refusal.retry_after_seconds == rest
    assert job.settled


async def test_a_create_is_sent_once_however_often_its_report_fails(on: Bench) -> None:
    on.jobs.failing["RecordPrediction"] = [grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL, grpc.StatusCode.ABORTED]
    running = asyncio.create_task(run_job(held(), on.tools))
    await until(lambda: on.jobs.entries("RecordPrediction"))
    on.replicate.succeed("prediction-1")
    assert await running == "completed"
    assert len(on.replicate.posts) == 1


async def test_a_job_that_is_lost_while_its_create_is_in_flight_still_records_what_was_paid(on: Bench) -> None:
    answered = asyncio.Event()

    async def slow() -> Created:
        await answered.wait()
        return Created({"id": "late"})

    on.replicate.answer = slow
    running = asyncio.create_task(run_job(held(), on.tools))
    await until(lambda: on.replicate.posts)
    running.cancel()
    await asyncio.sleep(0.05)
    running.cancel()  # a second heartbeat that says so
    answered.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [entry.prediction_id for entry in on.jobs.entries("RecordPrediction")] == ["late"]


@pytest.mark.parametrize(
    ("result", "canceled"),
    [(pb.RESULT_ORPHAN, ["prediction-1"]), (pb.RESULT_NOT_HOLDER, []), (pb.RESULT_STALE, []), (pb.RESULT_TAKEN, [])],
)
async def test_only_an_orphan_is_cancelled(on: Bench, result: int, canceled: list[str]) -> None:
    on.jobs.answers["RecordPrediction"] = result
    assert await run_job(held(), on.tools) == "not_created"
    assert on.replicate.canceled == canceled


async def test_a_create_of_unknown_outcome_is_reported_and_left_alone(on: Bench) -> None:
    async def lost() -> Unknown:
        return Unknown("ServerDisconnectedError")

    on.replicate.answer = lost
    await run_job(held(), on.tools)
    assert [entry.reason for entry in on.jobs.entries("RecordUnknown")] == ["ServerDisconnectedError"]
    assert len(on.replicate.posts) == 1


@pytest.mark.parametrize(("account", "kind"), [(True, pb.REFUSAL_KIND_REJECTED), (False, pb.REFUSAL_KIND_ACCOUNT)])
async def test_a_403_is_about_the_model_where_the_account_answers(on: Bench, account: bool, kind: int) -> None:
    async def forbidden() -> Refused:
        return Refused(pb.REFUSAL_KIND_ACCOUNT, 403, "account_unauthorized", "no")

    async def account_answers() -> bool:
        return account

    on.replicate.answer, on.replicate.account_answers = forbidden, account_answers
    await run_job(held(), on.tools)
    [refusal] = on.jobs.entries("RecordRefusal")
    assert (refusal.kind, refusal.error_code) == (kind, "model_forbidden" if account else "account_unauthorized")


async def test_an_attached_job_follows_its_prediction_and_creates_nothing(on: Bench) -> None:
    on.replicate.make("given")
    running = asyncio.create_task(run_job(held(pb.MODE_ATTACH, prediction_id="given"), on.tools))
    await until(lambda: on.replicate.gets)
    on.replicate.succeed("given")
    assert await running == "completed"
    assert on.replicate.posts == []


async def test_a_lost_create_is_looked_for_again_until_jobs_decides(on: Bench) -> None:
    answers = iter(
        [
            pb.LookupResult(result=pb.RESULT_TOO_EARLY, retry_after_seconds=0.05),
            pb.LookupResult(result=pb.RESULT_TAKEN, retry_after_seconds=0.05),
            pb.LookupResult(result=pb.RESULT_OK, prediction_id="found"),
        ]
    )

    def answer(entry: pb.Lookup) -> pb.LookupResult:
        if not entry.prediction_ids:
            on.replicate.make("found")
        return next(answers)

    on.jobs.answers["ReportLookup"] = answer
    running = asyncio.create_task(run_job(held(pb.MODE_RECONCILE, intent_age_seconds=5), on.tools))
    await until(lambda: len(on.jobs.entries("ReportLookup")) == 3)
    on.replicate.succeed("found")
    assert await running == "completed"
    seen = [(entry.outcome, list(entry.prediction_ids)) for entry in on.jobs.entries("ReportLookup")]
    assert seen == [(pb.LOOKUP_OUTCOME_EMPTY, []), (pb.LOOKUP_OUTCOME_FOUND, ["found"]), (pb.LOOKUP_OUTCOME_FOUND, ["found"])]
    assert on.replicate.posts == []


async def test_a_lost_create_that_is_marked_as_ones_own_is_reported_so(on: Bench) -> None:
    intent = "5b0c7a52-0f6e-4f0e-9f6c-0a1b2c3d4e5f"
    on.replicate.make("twin", webhook=f"https://example.com/webhooks/replicate/{uuid.uuid4()}?token=t")
    on.replicate.make("own", webhook=f"https://example.com/webhooks/replicate/{intent}?token=t")
    on.jobs.answers["ReportLookup"] = pb.LookupResult(result=pb.RESULT_OK, prediction_id="own")
    running = asyncio.create_task(run_job(held(pb.MODE_RECONCILE, intent_id=intent, intent_age_seconds=5), on.tools))
    on.replicate.succeed("own")
    assert await running == "completed"
    [entry] = on.jobs.entries("ReportLookup")
    assert (entry.outcome, list(entry.prediction_ids), entry.marked) == (pb.LOOKUP_OUTCOME_FOUND, ["own"], True)


@pytest.mark.parametrize("result", [pb.RESULT_OK, pb.RESULT_STALE])
async def test_a_lost_create_that_is_ruled_out_is_let_go(on: Bench, result: int) -> None:
    on.jobs.answers["ReportLookup"] = pb.LookupResult(result=result)
    assert await run_job(held(pb.MODE_RECONCILE), on.tools) == "not_created"


@pytest.mark.parametrize(
    ("fields", "kind", "code"),
    [
        ({"status": "failed", "error": "NSFW content detected"}, pb.FAILURE_KIND_PERMANENT, "content_rejected"),
        ({"status": "failed", "error": "code: PA"}, pb.FAILURE_KIND_TRANSIENT, "provider_transient"),
        ({"status": "aborted"}, pb.FAILURE_KIND_ABORTED, "provider_aborted"),
        ({"status": "canceled"}, pb.FAILURE_KIND_CANCELED, "provider_timeout"),
        ({"status": "succeeded", "data_removed": True}, pb.FAILURE_KIND_PERMANENT, "output_expired"),
        ({"status": "succeeded", "output": []}, pb.FAILURE_KIND_PERMANENT, "output_missing"),
    ],
)
async def test_a_prediction_that_came_to_nothing_is_reported_as_what_it_is(
    on: Bench, fields: dict[str, Any], kind: int, code: str
) -> None:
    on.replicate.make("given", **fields, metrics={"predict_time": 1.5})
    await run_job(held(pb.MODE_ATTACH, prediction_id="given"), on.tools)
    [failure] = on.jobs.entries("Fail")
    assert (failure.kind, failure.error_code, failure.predict_seconds) == (kind, code, 1.5)


async def test_a_prediction_that_replicate_does_not_know_any_more_is_not_paid_for_again(
    on: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "GONE_SECONDS", 0.0)
    await run_job(held(pb.MODE_ATTACH, prediction_id="gone"), on.tools)
    [failure] = on.jobs.entries("Fail")
    assert (failure.kind, failure.error_code) == (pb.FAILURE_KIND_PERMANENT, "prediction_lost")
    assert len(on.replicate.gets) == 3


async def test_a_cancel_ends_the_prediction_and_then_the_job(on: Bench) -> None:
    job = held()
    running = asyncio.create_task(run_job(job, on.tools))
    await until(lambda: on.jobs.entries("RecordPrediction"))
    job.ask_end()
    assert await running == "canceled"
    assert on.replicate.canceled == ["prediction-1"]
    assert [entry.kind for entry in on.jobs.entries("Fail")] == [pb.FAILURE_KIND_CANCELED]


async def test_what_succeeded_after_its_cancel_is_not_stored(on: Bench) -> None:
    on.replicate.make("given", status="succeeded", output="words")
    job = held(pb.MODE_ATTACH, prediction_id="given", cancel_requested=True)
    await run_job(job, on.tools)
    assert [entry.kind for entry in on.jobs.entries("Fail")] == [pb.FAILURE_KIND_CANCELED]
    assert on.jobs.entries("Complete") == []


async def test_a_cancel_does_not_wait_for_a_bucket_that_is_away(on: Bench) -> None:
    on.storing.wait.clear()
    on.replicate.make("given", status="succeeded", output="words")
    job = held(pb.MODE_ATTACH, prediction_id="given")
    running = asyncio.create_task(run_job(job, on.tools))
    await holds(lambda: not running.done(), seconds=0.2)
    job.ask_end()
    assert await running == "canceled"


async def test_a_prediction_that_outlives_its_limit_is_cancelled(on: Bench) -> None:
    on.replicate.make("given")
    job = held(pb.MODE_ATTACH, prediction_id="given", intent_age_seconds=TIMING.prediction_seconds * 2)
    assert await run_job(job, on.tools) == "provider_timeout"
    assert on.replicate.canceled == ["given"]
    assert [entry.kind for entry in on.jobs.entries("Fail")] == [pb.FAILURE_KIND_CANCELED]


async def test_each_look_up_is_reported_with_the_time_at_which_it_began_as_it_was_told(on: Bench) -> None:
    answers = [
        pb.LookupResult(result=pb.RESULT_TOO_EARLY, lookup_begun_at=2000),
        pb.LookupResult(result=pb.RESULT_TAKEN, lookup_begun_at=3000),
        pb.LookupResult(result=pb.RESULT_STALE),
    ]
    on.jobs.answers["ReportLookup"] = lambda entry: answers.pop(0)
    await run_job(held(pb.MODE_RECONCILE, lookup_begun_at=1000), on.tools)
    assert [entry.lookup_begun_at for entry in on.jobs.entries("ReportLookup")] == [1000, 2000, 3000]
