import asyncio

import grpc
import pytest

import ports
from chassis.errors import AppError
from gateway.caller import Caller
from gateway.jobs_client import BATCH, KEYS, LANES, JobsClient
from mediagen.jobs.v1 import jobs_pb2


async def test_the_largest_batch_with_the_longest_ids_passes_the_metadata_limit(gateway):
    async def create(number: int):
        caller = Caller("Bearer mg_test", f"{number:0128}", f"00-{number + 1:032x}-{1:016x}-01")
        return await gateway.client.create(caller, jobs_pb2.JobSpec(prompt="x"), f"request-{number}")

    answers = await asyncio.gather(*(create(number) for number in range(4 * BATCH)))
    assert len({answer.job.id for answer in answers}) == 4 * BATCH
    assert len(gateway.jobs.calls["BatchCreateJobs"]) == 4


async def test_the_batchers_of_keys_that_are_not_used_make_room(gateway):
    job = gateway.jobs.add()
    await gateway.client.get(Caller("Bearer mg_test", "r"), job.id)
    for number in range(KEYS + 5):
        with pytest.raises(AppError):
            await gateway.client.get(Caller(f"Bearer {number}", "r"), job.id)
    assert len(gateway.client._batches) == KEYS
    assert (await gateway.client.get(Caller("Bearer mg_test", "r"), job.id)).id == job.id


def notes(gateway, *tokens: str):
    """Webhooks that come at once, with these tokens."""
    requests = [jobs_pb2.NoteWebhookRequest(webhook_id=str(number), token=token) for number, token in enumerate(tokens)]
    return asyncio.gather(*[gateway.client.note_webhook(Caller(None, "r"), one) for one in requests], return_exceptions=True)


async def test_webhooks_that_come_at_once_share_a_call_and_each_has_its_own_outcome(gateway):
    stored, refused, other = await notes(gateway, "good", "withdrawn", "good")
    assert (stored, other) == (None, None)
    assert isinstance(refused, AppError)
    assert refused.reason == "WEBHOOK_TOKEN_INVALID"
    [(batch, _)] = gateway.jobs.calls["BatchNoteWebhooks"]
    assert [note.webhook_id for note in batch.notes] == ["0", "1", "2"]
    assert not gateway.jobs.calls["NoteWebhook"]


async def test_a_jobs_that_knows_no_batches_of_webhooks_is_told_of_them_one_by_one(gateway):
    gateway.jobs.unknown = {"BatchNoteWebhooks"}
    assert await notes(gateway, "good", "good") == [None, None]
    assert len(gateway.jobs.calls["NoteWebhook"]) == 2


async def test_webhooks_that_could_not_be_stored_are_all_told_so(gateway):
    gateway.jobs.fail = AppError(grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE", "The database is away.")
    assert [error.code for error in await notes(gateway, "good", "good")] == [grpc.StatusCode.UNAVAILABLE] * 2
    assert [error.code for error in await notes(gateway, "good")] == [grpc.StatusCode.UNAVAILABLE]


async def test_a_webhook_has_its_answer_in_time_however_many_wait_before_it(monkeypatch):
    monkeypatch.setattr("gateway.jobs_client.WEBHOOK_SECONDS", 0.3)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.any_free_port()}") as channel:
        client = JobsClient(channel)
        held, calls = asyncio.Event(), []
        monkeypatch.setattr(client, "_stub", Held(held, calls))
        webhooks = [client.note_webhook(Caller(None, "r"), jobs_pb2.NoteWebhookRequest()) for _ in range(3 * LANES * BATCH)]
        errors = await asyncio.gather(*webhooks, return_exceptions=True)
        assert {error.code for error in errors} == {grpc.StatusCode.UNAVAILABLE}
        held.set()
        while client._notes._running:
            await asyncio.sleep(0.01)
    assert len(calls) == LANES, "those that nobody waits for any more are not sent"


class Held:
    """A stub of a `jobs` that keeps every call until `held` is set, however little time it was given, and then fails it."""

    def __init__(self, held: asyncio.Event, calls: list[str]) -> None:
        self._held, self._calls = held, calls

    def __getattr__(self, name: str):
        async def call(request, **options):
            self._calls.append(name)
            await self._held.wait()
            raise AppError(grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE", "There is no jobs.")

        return call
