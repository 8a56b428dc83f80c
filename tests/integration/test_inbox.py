"""What webhooks said, on the real service: whom it believes, what it does at once, and what it never does."""

import asyncio
import contextlib
from importlib import resources
from uuid import UUID, uuid4

import grpc
import pytest
from google.rpc import status_pb2

from chassis.errors import from_rpc_error, from_status
from driver import Driver, driving
from integration.test_jobs_service import TOKEN, Service, running
from jobs import access
from jobs.bell import Bell
from jobs.forgetting import Forgetting
from jobs.inbox import NOTES_OF_AN_INTENT, Inbox
from jobs.relay import Relay
from jobs.states import State
from jobs.timing import Timing
from mediagen.jobs.v1 import jobs_pb2, worker_pb2
from waiting import holds, until

WORKER = [("authorization", f"Bearer {TOKEN}")]


@pytest.fixture
def driver(service: Service) -> Driver:
    return service.driver


async def note(service: Service, job_id: UUID, prediction: str = "prediction", *, intent: UUID | None = None, **fields) -> None:
    """A webhook comes about the job's create, or another one's."""
    intent = intent or (await service.driver.row(job_id))["intent_id"]
    token = access.sign_webhook(b"secret", str(intent))
    request = {"webhook_id": str(uuid4()), "intent_id": str(intent), "token": token, "prediction_id": prediction, **fields}
    await service.call("NoteWebhook", jobs_pb2.NoteWebhookRequest(**request), key=None)


async def inbox(driver: Driver) -> list:
    return await driver.database.fetch("SELECT * FROM provider_inbox ORDER BY received_at")


async def test_of_each_create_so_many_webhooks_are_noted_and_no_more(service: Service, driver: Driver):
    job_id, other = await driver.reach(State.SUBMITTED), await driver.reach(State.SUBMITTED)
    for number in range(NOTES_OF_AN_INTENT + 5):
        await note(service, job_id, f"prediction-{number}")
    await note(service, other)
    assert len(await inbox(driver)) == NOTES_OF_AN_INTENT + 1


async def test_webhooks_that_come_at_once_are_stored_together_and_each_is_judged_by_itself(service: Service, driver: Driver):
    job_id, other = await driver.reach(State.SUBMITTED), await driver.reach(State.SUBMITTED)
    intent = str((await driver.row(other))["intent_id"])
    same = {"webhook_id": "same", "intent_id": intent, "prediction_id": "p"}
    false = jobs_pb2.NoteWebhookRequest(**same, token=access.sign_webhook(b"other", intent))
    true = jobs_pb2.NoteWebhookRequest(**same, token=access.sign_webhook(b"secret", intent))
    *_, refused, _ = await asyncio.gather(
        *[note(service, job_id, f"prediction-{number}") for number in range(NOTES_OF_AN_INTENT + 5)],
        service.refused("NoteWebhook", false, key=None),
        service.call("NoteWebhook", true, key=None),
    )
    assert refused.reason == "WEBHOOK_TOKEN_INVALID"
    noted = [row["intent_id"] for row in await inbox(driver)]
    assert len(noted) == NOTES_OF_AN_INTENT + 1 and noted.count(UUID(intent)) == 1


async def acted_on(driver: Driver) -> bool:
    return all(row["processed_at"] for row in await inbox(driver))


async def becomes(driver: Driver, job_id: UUID, state: State, seconds: float = 10):
    async def row():
        seen = await driver.row(job_id)
        return seen if seen["state"] == state else None

    return await until(row, seconds)


async def record(service: Service, worker: UUID, told: worker_pb2.ClaimedCreation) -> int:
    """A worker has found it to be as it was told, and reports the prediction."""
    created = worker_pb2.CreatedPrediction(job_id=told.job_id, intent_id=told.intent_id, prediction_id=told.prediction_id)
    request = worker_pb2.RecordPredictionRequest(worker_id=str(worker), predictions=[created])
    [result] = (await service.worker.RecordPrediction(request, timeout=10, metadata=WORKER)).results
    return result


@contextlib.asynccontextmanager
async def watching(service: Service, worker: UUID):
    """What this worker is told: predictions that have ended, and creations. Both grow."""
    ended, creations, begun = set(), [], asyncio.Event()

    async def watch() -> None:
        request = worker_pb2.WatchPredictionsRequest(worker_id=str(worker))
        async for news in service.worker.WatchPredictions(request, timeout=60, metadata=WORKER):
            ended.update(news.ended_prediction_ids)
            creations.extend(news.creations)
            begun.set()

    task = asyncio.create_task(watch())
    async with asyncio.timeout(10):
        await begun.wait()
    yield ended, creations
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
        await task


async def test_of_a_create_of_unknown_outcome_any_worker_is_told_what_it_made_and_whoever_reports_it_is_believed(service, driver):
    job_id, worker = await driver.reach(State.UNKNOWN), uuid4()  # another's look-up holds it, and its settle time is far away
    row = await driver.row(job_id)
    async with watching(service, worker) as (_, creations):
        await note(service, job_id)
        await until(lambda: creations, seconds=5)
    [told] = creations
    assert (told.job_id, told.intent_id, told.prediction_id) == (str(job_id), str(row["intent_id"]), "prediction")
    assert (told.model, told.input, told.request_id) == ("a/b", '{"prompt": "a fox"}', "req-1")
    assert (await driver.row(job_id))["version"] == row["version"], "what a webhook says decides nothing"
    assert await record(service, worker, told) == worker_pb2.RESULT_NOT_HOLDER
    after = await driver.row(job_id)
    assert (after["state"], after["prediction_id"], after["lease_worker"]) == ("submitted", "prediction", None)
    assert (await driver.claim(job_id))["verb"] == "attach"
    assert (await driver.apply(job_id, "empty", epoch=row["epoch"]))["result"] == "stale", "the look-up came too late"


async def test_while_the_create_may_still_be_answered_a_webhook_waits_for_that(service, driver):
    job_id = await driver.reach(State.SUBMITTING)
    await note(service, job_id, "its own")
    async with watching(service, uuid4()) as (_, creations):  # the table is read four times a second

        async def waits() -> bool:
            return not creations and not await acted_on(driver)

        await holds(waits, seconds=1)
        assert (await driver.apply(job_id, "created", prediction_ids="its own"))["result"] == "ok"
        await until(lambda: acted_on(driver))
        assert not creations


async def test_of_a_create_that_is_reported_lost_after_its_webhook_came_a_worker_is_told_at_once(service, driver):
    job_id = await driver.reach(State.SUBMITTING)
    row = await driver.row(job_id)
    await note(service, job_id)
    lost = worker_pb2.UnknownCreate(job_id=str(job_id), epoch=row["epoch"], intent_id=str(row["intent_id"]), reason="reset")
    async with watching(service, driver.worker) as (_, creations):
        request = worker_pb2.RecordUnknownRequest(worker_id=str(driver.worker), creates=[lost])
        answer = await service.worker.RecordUnknown(request, timeout=10, metadata=WORKER)
        assert list(answer.results) == [worker_pb2.RESULT_OK]
        await until(lambda: creations, seconds=3)


async def test_of_a_create_whose_worker_died_another_is_told_when_its_lease_has_expired(service, driver):
    job_id = await driver.reach(State.SUBMITTING)
    await note(service, job_id)
    async with watching(service, uuid4()) as (_, creations):
        await driver.set(job_id, "lease_until = now() - interval '1 s'")
        await until(lambda: creations, seconds=10)
    assert (await driver.row(job_id))["state"] == "unknown"


async def test_what_a_create_made_is_told_to_one_worker_and_waits_for_one(service, driver):
    job_id = await driver.reach(State.UNKNOWN)
    await note(service, job_id)
    await driver.database.fetch("UPDATE provider_inbox SET received_at = now() - interval '1 h'")

    async def waits() -> bool:
        return not await acted_on(driver)

    await holds(waits, seconds=3)  # longer than the table is left alone where nobody watches
    async with watching(service, uuid4()) as (_, one), watching(service, uuid4()) as (_, other):
        await until(lambda: acted_on(driver))
        await until(lambda: one or other)
    assert len(one + other) == 1


async def test_of_an_end_the_worker_that_follows_it_is_told_and_nobody_else(service, driver):
    job_id = await driver.reach(State.SUBMITTED)
    prediction = (await driver.row(job_id))["prediction_id"]
    async with watching(service, driver.worker) as (mine, _), watching(service, uuid4()) as (others, _):
        await note(service, job_id, prediction)
        assert not await inbox(driver), "that it began is known, and nothing to tell"
        await note(service, job_id, prediction, ended=True)
        await until(lambda: mine == {prediction}, seconds=5)
        await until(lambda: acted_on(driver))
        assert not others
    row = await driver.row(job_id)
    assert (row["state"], row["lease_worker"]) == ("submitted", driver.worker), "what a webhook says decides nothing"


async def test_a_worker_that_watches_another_instance_is_told_too(service, driver):
    job_id = await driver.reach(State.SUBMITTED)
    prediction = (await driver.row(job_id))["prediction_id"]
    other = Inbox(driver.database, Relay(driver.store, Bell("amqp://nobody@127.0.0.1:1/"), 1), Timing())
    reading = asyncio.create_task(other.run())
    with other.watching(driver.worker) as watch:
        await note(service, job_id, prediction, ended=True)
        await until(watch.changed.is_set, seconds=5)
        assert list(watch.take().ended_prediction_ids) == [prediction]
    reading.cancel()


async def test_an_end_that_comes_before_the_creates_answer_is_told_after_it(service, driver):
    job_id = await driver.reach(State.SUBMITTING)
    async with watching(service, driver.worker) as (told, _):
        await note(service, job_id, "fast", ended=True)
        await holds(lambda: not told, seconds=0.6)
        await driver.apply(job_id, "created", prediction_ids="fast")
        await until(lambda: told == {"fast"}, seconds=5)


async def test_an_end_that_nobody_can_be_told_waits_for_a_watch_and_not_for_ever(service, driver):
    early, late = await driver.reach(State.SUBMITTED), await driver.reach(State.SUBMITTED)
    for job_id in (early, late):
        await note(service, job_id, (await driver.row(job_id))["prediction_id"], ended=True)
    await driver.database.fetch(
        "UPDATE provider_inbox SET received_at = now() - interval '30 s' WHERE intent_id = $1",
        (await driver.row(late))["intent_id"],
    )

    async def one_is_left() -> bool:
        return [bool(row["processed_at"]) for row in await inbox(driver)] == [True, False]

    await until(one_is_left)
    async with watching(service, driver.worker) as (told, _):
        await until(lambda: told == {f"prediction-{early}-1"}, seconds=5)


async def test_an_end_of_what_nobody_follows_makes_it_due_at_once(service, driver):
    job_id = await driver.reach(State.SUBMITTED)
    prediction = (await driver.row(job_id))["prediction_id"]
    await driver.apply(job_id, "release", delay=600)
    assert (await driver.store.claim_due(uuid4(), 1, False)) == []
    await note(service, job_id, prediction, ended=True)
    await until(lambda: acted_on(driver))
    assert [row["job_id"] for row in await driver.store.claim_due(uuid4(), 1, False)] == [job_id]


async def test_a_webhook_is_believed_by_its_own_token_alone(service, driver):
    job_id, other = await driver.reach(State.UNKNOWN), await driver.reach(State.UNKNOWN)
    intent, others = [str((await driver.row(one))["intent_id"]) for one in (job_id, other)]
    tokens = {
        "none": "",
        "another create's": access.sign_webhook(b"secret", others),
        "another tenant's": access.sign_webhook(b"other", intent),
        "an output's": access.sign(b"secret", str(driver.tenant), str(job_id), 0, 0),
        "cut": access.sign_webhook(b"secret", intent)[:-1],
        "no ASCII": "é",
    }
    for name, token in tokens.items():
        request = jobs_pb2.NoteWebhookRequest(webhook_id="1", intent_id=intent, token=token, prediction_id="p")
        error = await service.refused("NoteWebhook", request, key=None)
        assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "WEBHOOK_TOKEN_INVALID"), name
    unknown = str(uuid4())
    request = jobs_pb2.NoteWebhookRequest(
        webhook_id="1", intent_id=unknown, token=access.sign_webhook(b"secret", unknown), prediction_id="p"
    )
    assert (await service.refused("NoteWebhook", request, key=None)).reason == "WEBHOOK_TOKEN_INVALID"
    assert await inbox(driver) == []


async def test_of_a_batch_each_webhook_has_an_outcome_of_its_own(service, driver):
    job_id, other = await driver.reach(State.UNKNOWN), await driver.reach(State.UNKNOWN)
    intents = [str((await driver.row(one))["intent_id"]) for one in (job_id, other)]
    notes = [
        jobs_pb2.NoteWebhookRequest(
            webhook_id=f"{number}", intent_id=intent, token=access.sign_webhook(b"secret", intents[0]), prediction_id=prediction
        )
        for number, (intent, prediction) in enumerate(zip([*intents, *[intents[0]] * 2], ["p", "p", "p,q", "q"], strict=True))
    ]
    answer = await service.call("BatchNoteWebhooks", jobs_pb2.BatchNoteWebhooksRequest(notes=notes), key=None)
    reasons = [from_status(status_pb2.Status.FromString(result.error)).reason for result in answer.results if result.error]
    assert [bool(result.error) for result in answer.results] == [False, True, True, False]
    assert reasons == ["WEBHOOK_TOKEN_INVALID", "INVALID_ARGUMENT"]
    assert {row["webhook_id"] for row in await inbox(driver)} == {"0", "3"}
    for wrong in ([], [notes[0]] * 257):
        error = await service.refused("BatchNoteWebhooks", jobs_pb2.BatchNoteWebhooksRequest(notes=wrong), key=None)
        assert (error.code, error.violations[0].field) == (grpc.StatusCode.INVALID_ARGUMENT, "notes")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("webhook_id", ""),
        ("webhook_id", "a b"),
        ("webhook_id", "x" * 256),
        ("intent_id", "1"),
        ("prediction_id", ""),
        ("prediction_id", "a,b"),
    ],
)
async def test_a_malformed_note_is_refused(service, driver, field, value):
    right = {"webhook_id": "1", "intent_id": str(uuid4()), "token": "t", "prediction_id": "p"}
    error = await service.refused("NoteWebhook", jobs_pb2.NoteWebhookRequest(**{**right, field: value}), key=None)
    assert (error.code, error.violations[0].field) == (grpc.StatusCode.INVALID_ARGUMENT, field)


async def test_the_intents_token_comes_with_its_permission_and_with_no_refusal(service, driver):
    job_id, intent = await driver.reach(State.CLAIMED), str(uuid4())
    epoch = (await driver.row(job_id))["epoch"]
    for asked, expected in ((epoch, access.sign_webhook(b"secret", intent)), (epoch - 1, "")):
        announced = worker_pb2.Intent(job_id=str(job_id), epoch=asked, intent_id=intent)
        request = worker_pb2.RecordIntentRequest(worker_id=str(driver.worker), intents=[announced])
        [result] = (await service.worker.RecordIntent(request, timeout=10, metadata=WORKER)).results
        assert result.webhook_token == expected


async def test_the_same_webhook_is_noted_once(service, driver):
    job_id = await driver.reach(State.UNKNOWN)
    async with watching(service, uuid4()) as (_, creations):
        for _ in range(3):
            await note(service, job_id, webhook_id="end", ended=True)
            await note(service, job_id, webhook_id="start")
        await until(lambda: acted_on(driver))
        await until(lambda: len(creations) == 2)
    assert sorted(row["webhook_id"] for row in await inbox(driver)) == ["end", "start"]


async def test_a_prediction_that_another_job_has_is_not_bound(service, driver):
    twin = await driver.reach(State.SUBMITTED)
    job_id = await driver.reach(State.UNKNOWN)
    async with watching(service, driver.worker) as (_, creations):
        await note(service, job_id, (await driver.row(twin))["prediction_id"])
        await until(lambda: creations)
    assert await record(service, driver.worker, creations[0]) == worker_pb2.RESULT_TAKEN
    assert (await driver.row(job_id))["state"] == "unknown"


@pytest.mark.parametrize("end", [State.FAILED, State.CANCELED])
async def test_a_final_job_stays_so_and_a_prediction_that_shows_up_later_is_an_orphan(service, driver, end):
    job_id = await driver.reach(State.UNKNOWN)
    intent = (await driver.row(job_id))["intent_id"]
    if end is State.FAILED:
        await driver.set(job_id, "unknown_since = now() - interval '2 h'")
    else:
        await driver.apply(job_id, "cancel")
        await driver.apply(job_id, "not_sent")
    row = await becomes(driver, job_id, end)
    async with watching(service, driver.worker) as (_, creations):
        await note(service, job_id, "stray", intent=intent)
        await until(lambda: creations, seconds=5)
    assert await record(service, driver.worker, creations[0]) == worker_pb2.RESULT_ORPHAN
    assert await driver.row(job_id) == row
    submission = (await driver.submissions(job_id))[-1]
    assert (submission["state"], submission["prediction_id"]) == ("orphan_canceled", "stray")


async def test_notes_are_forgotten_after_a_day(service, driver):
    job_id = await driver.reach(State.UNKNOWN)
    for hours in (25, 23):
        await note(service, job_id, webhook_id=f"{hours}-hours-ago", intent=(await driver.row(job_id))["intent_id"])
        await driver.database.fetch(
            "UPDATE provider_inbox SET received_at = now() - make_interval(hours => $1) WHERE webhook_id = $2",
            hours,
            f"{hours}-hours-ago",
        )
    await Forgetting(driver.database, lease=30, idempotency_seconds=60, retention_seconds=0).once()
    assert [row["webhook_id"] for row in await inbox(driver)] == ["23-hours-ago"]


async def test_a_watch_needs_the_workers_token_and_ends_with_the_service(postgres_url):
    async with running(postgres_url) as service:
        request = worker_pb2.WatchPredictionsRequest(worker_id=str(uuid4()))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.worker.WatchPredictions(request, timeout=10).read()
        assert from_rpc_error(caught.value).reason == "WORKER_TOKEN_INVALID"
        watch = service.worker.WatchPredictions(request, timeout=60, metadata=WORKER)
        await watch.read()
        reading = asyncio.create_task(watch.read())
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 10, "an open watch held the service's end up"
    with contextlib.suppress(grpc.aio.AioRpcError):
        await reading


async def test_reading_the_inbox_costs_nothing_while_nothing_waits(postgres_url):
    async with driving(postgres_url) as driver:
        await driver.database.fetch(
            "INSERT INTO provider_inbox (webhook_id, intent_id, prediction_id, ended, processed_at) "
            "SELECT n::text, gen_random_uuid(), 'p', true, now() FROM generate_series(1, 20000) n"
        )
        await driver.database.fetch("ANALYZE provider_inbox")
        sql = resources.files("jobs").joinpath("sql", "inbox.sql").read_text()
        plan = "\n".join(row[0] for row in await driver.database.fetch(f"EXPLAIN ANALYZE {sql}", [], 20.0))
        assert "provider_inbox_waiting" in plan and "Seq Scan on provider_inbox" not in plan, plan
