"""Slots, claims, heartbeats and the drain."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from generator.bells import MAX_IDS, Bells
from generator.claims import JOBS_AT_ONCE, Claims
from generator.held import Held
from generator.outcomes import Created
from generator.run_job import run_job
from generator.worker import Worker
from generator_doubles import Bench, bench, grant
from mediagen.jobs.v1 import worker_pb2 as pb
from mediagen.jobs.v1.ready_pb2 import JobsReady
from waiting import holds, until


def named(name: str) -> str:
    """The id of the job that a test calls so."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


PATIENT = 20.0
"""Seconds of silence, which no machine is slow enough to take for a moment."""


def be_patient(on: Bench) -> None:
    """From now on silence lasts that long."""
    on.leash.heard(time.monotonic(), pb.Timing(silence_seconds=PATIENT, heartbeat_seconds=0.1, lease_seconds=600))


class Message:
    """A message of RabbitMQ."""

    message_id = "1"

    def __init__(self, *job_ids: str, body: bytes | None = None) -> None:
        self.body = JobsReady(job_ids=map(named, job_ids)).SerializeToString() if body is None else body
        self.fate = ""

    async def ack(self) -> None:
        self.fate = "acked"

    async def nack(self, requeue: bool) -> None:
        self.fate = "requeued" if requeue else "dropped"

    async def reject(self, requeue: bool) -> None:
        self.fate = "requeued" if requeue else "rejected"


class Office:
    """A worker with two slots or more, its bells and its loop of claims; its jobs last until they are told to end."""

    def __init__(self, on: Bench, slots: int = 2) -> None:
        self.on = on
        self.begun: list[Held] = []
        self.end = asyncio.Event()
        self.worker = Worker(on.client, on.leash, on.budget, on.bucket, slots, self.run)
        self.bells = Bells(self.worker.changed)
        self.claims = Claims(on.client, self.worker, self.bells, on.bucket, on.leash)
        self.claiming = asyncio.create_task(self.claims.run())

    async def run(self, held: Held) -> str:
        self.begun.append(held)
        await self.end.wait()
        held.settled = True
        return "done"

    async def ring(self, *job_ids: str, body: bytes | None = None) -> Message:
        message: Any = Message(*job_ids, body=body)
        await self.bells._deliver(message)
        return message  # type: ignore[no-any-return]

    def take(self, grants: list[pb.Grant]) -> None:
        """These were granted to a claim of this moment."""
        self.worker.take(grants, time.monotonic())

    def jobs_begun(self) -> list[str]:
        return [held.grant.job_id for held in self.begun]


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    async with bench() as on:
        made = Office(on)
        await until(lambda: on.jobs.claims)  # the first, silent one
        on.jobs.claims.clear()
        yield made
        made.claiming.cancel()
        await asyncio.gather(made.claiming, return_exceptions=True)


async def test_a_bell_becomes_a_claim_and_is_acknowledged(office: Office) -> None:
    office.on.jobs.due = [grant(job_id=named("job-1"))]
    message = await office.ring("job-1", "not-ours")
    await until(lambda: message.fate)
    assert message.fate == "acked"
    [claim] = office.on.jobs.claims
    assert (list(claim.job_ids), claim.slots, claim.no_creates) == ([named("job-1"), named("not-ours")], 2, False)
    assert len({uuid.UUID(intent) for intent in claim.intent_ids}) == 2
    assert office.jobs_begun() == [named("job-1")]


async def test_messages_of_one_moment_are_claimed_together(office: Office) -> None:
    for number in range(2):
        await office.ring(f"job-{number}")
    await until(lambda: office.on.jobs.claims)
    assert [list(claim.job_ids) for claim in office.on.jobs.claims] == [[named("job-0"), named("job-1")]]


async def test_without_a_free_slot_no_message_is_claimed_and_none_is_kept_for_long(office: Office) -> None:
    office.on.jobs.due = [grant(job_id=named(name)) for name in "abc"]
    await office.ring("a", "b")
    await until(lambda: len(office.begun) == 2)
    message = await office.ring("c")
    await until(lambda: message.fate)
    assert message.fate == "requeued"
    assert office.jobs_begun() == [named("a"), named("b")]


async def test_a_message_waits_for_slots_with_those_of_its_jobs_that_found_none(office: Office) -> None:
    office.on.jobs.due = [grant(job_id=named(name)) for name in "abc"]
    be_patient(office.on)
    message = await office.ring("a", "b", "c")
    await until(lambda: len(office.begun) == 2)
    assert message.fate == ""
    office.end.set()
    await until(lambda: message.fate)
    assert message.fate == "acked"
    assert office.jobs_begun() == [named(name) for name in "abc"]
    claims = [list(claim.job_ids) for claim in office.on.jobs.claims if claim.job_ids]
    assert claims == [[named("a"), named("b")], [named("c")]]


async def test_what_no_slot_is_found_for_in_a_while_is_left_to_others(office: Office) -> None:
    """A claim that may begin nothing makes these jobs due again; the message would go round, and back to whoever is full."""
    office.on.jobs.due = [grant(job_id=named(name)) for name in "ab"]
    be_patient(office.on)
    message = await office.ring("a", "b", "c", "d")
    await until(lambda: message.fate)
    assert message.fate == "acked"
    first, rest = [claim for claim in office.on.jobs.claims if claim.job_ids]
    assert (list(first.job_ids), first.no_creates) == ([named("a"), named("b")], False)
    assert (list(rest.job_ids), rest.no_creates) == ([named("c"), named("d")], True)
    assert office.jobs_begun() == [named("a"), named("b")]


async def test_where_nothing_is_granted_the_rest_of_a_message_waits_for_no_slots(office: Office) -> None:
    be_patient(office.on)
    message = await office.ring(*"abcdef")
    await until(lambda: message.fate)
    assert message.fate == "acked"
    assert [len(claim.job_ids) for claim in office.on.jobs.claims if claim.job_ids] == [2, 4]


@pytest.mark.parametrize(
    ("code", "fate"), [(grpc.StatusCode.INVALID_ARGUMENT, "rejected"), (grpc.StatusCode.UNAVAILABLE, "requeued")]
)
async def test_a_message_of_which_a_claim_failed_goes_with_what_was_left_of_it(
    office: Office, code: grpc.StatusCode, fate: str
) -> None:
    office.on.jobs.failing["Claim"] = [code] * 100
    message = await office.ring("a", "b", "c")
    await until(lambda: any(claim.job_ids for claim in office.on.jobs.asked))
    if fate == "requeued":
        office.on.leash.drain()  # what may succeed later is tried for half a minute otherwise
    await until(lambda: message.fate)
    assert message.fate == fate
    assert not office.bells
    assert {tuple(claim.job_ids) for claim in office.on.jobs.asked if claim.job_ids} == {(named("a"), named("b"))}


async def test_a_job_of_which_only_the_report_is_left_takes_no_slot_but_not_without_end(office: Office) -> None:
    async def two_more_that_end(names: str) -> None:
        office.take([grant(job_id=name) for name in names])
        await until(lambda: {held.grant.job_id for held in office.begun} >= set(names))
        for held in office.begun[-2:]:
            held.on_ending(held)

    await two_more_that_end("ab")
    assert office.worker.free == 2
    await two_more_that_end("cd")
    assert office.worker.free == 0
    office.end.set()
    await until(lambda: office.worker.free == 2)


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xff",
        b"",
        b'{"job_ids": ["01938c2e-7b1a-7c3e-8f00-3d2f6a1b5c4d"]}',
        JobsReady(job_ids=[""]).SerializeToString(),
        JobsReady(job_ids=[named("job-1"), "not-an-id"]).SerializeToString(),
        JobsReady(job_ids=[named("job-1")] * (MAX_IDS + 1)).SerializeToString(),
    ],
    ids=["broken", "empty", "json", "an empty id", "no id", "too many"],
)
async def test_a_message_that_is_none_of_ours_is_rejected_and_spoils_no_claim(office: Office, body: bytes) -> None:
    assert (await office.ring(body=body)).fate == "rejected"
    message = await office.ring("job-1")
    await until(lambda: message.fate)
    assert message.fate == "acked"
    assert [list(claim.job_ids) for claim in office.on.jobs.claims if claim.job_ids] == [[named("job-1")]]


async def test_a_message_whose_claim_is_called_wrong_is_rejected_instead_of_going_round_and_round(office: Office) -> None:
    office.on.jobs.failing["Claim"] = [grpc.StatusCode.INVALID_ARGUMENT]
    message = await office.ring("job-1")
    await until(lambda: message.fate)
    assert message.fate == "rejected"


async def test_a_claim_is_tried_again_while_jobs_is_away_and_its_message_held(office: Office) -> None:
    office.on.jobs.due = [grant(job_id=named("job-1"))]
    office.on.jobs.failing["Claim"] = [grpc.StatusCode.DEADLINE_EXCEEDED]
    message = await office.ring("job-1")
    await until(lambda: not office.on.jobs.failing["Claim"])
    assert message.fate == ""
    await until(lambda: message.fate)
    assert message.fate == "acked"


async def test_a_claim_that_is_repeated_repeats_its_intents(office: Office) -> None:
    office.on.jobs.due = [grant(job_id=named("job-1"), intent_id="recorded")]
    office.on.jobs.failing["Claim"] = [grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE]
    await office.ring("job-1")
    await until(lambda: office.begun)
    first, *others = [claim for claim in office.on.jobs.asked if claim.job_ids]
    assert len(others) == 2
    assert all(other == first for other in others)


async def test_in_silence_whatever_is_due_is_claimed_and_at_once_where_there_was_more_than_slots(office: Office) -> None:
    await until(lambda: office.on.jobs.claims)  # in vain, so that a silence begins
    be_patient(office.on)
    office.on.jobs.due = [grant(job_id=name) for name in "abcde"]
    office.end.set()  # every job ends at once
    await until(lambda: len(office.begun) == 5, 0.8 * PATIENT)  # one silence, not one for each claim
    assert {(tuple(claim.job_ids), claim.slots) for claim in office.on.jobs.claims} == {((), 2)}


async def test_one_claim_asks_for_no_more_than_fits_into_its_answer() -> None:
    async with bench() as on:
        be_patient(on)
        on.jobs.due = [grant(job_id=f"due-{number}") for number in range(120)]
        office = Office(on, slots=5000)
        await until(lambda: len(office.begun) == 120, 0.8 * PATIENT)  # as many as were asked for: the next claim is at once
        assert [claim.slots for claim in on.jobs.claims][:2] == [JOBS_AT_ONCE, JOBS_AT_ONCE]
        on.jobs.claims.clear()
        for message in range(16):
            await office.ring(*(f"job-{message}-{number}" for number in range(20)))
        await until(lambda: sum(len(claim.job_ids) for claim in on.jobs.claims) == 320)
        assert max(len(claim.job_ids) for claim in on.jobs.claims) == JOBS_AT_ONCE
        assert all(claim.slots == len(claim.job_ids) for claim in on.jobs.claims)  # jobs refuses more than 1000
        office.claiming.cancel()
        await asyncio.gather(office.claiming, return_exceptions=True)


async def test_a_repeated_grant_is_begun_once_and_a_later_epoch_replaces_an_earlier(office: Office) -> None:
    office.take([grant()])
    await until(lambda: office.begun)
    office.take([grant()])
    await holds(lambda: len(office.begun) == 1, seconds=0.1)
    office.take([grant(epoch=2)])
    await until(lambda: len(office.begun) == 2)
    first, second = office.begun
    assert first.task is not None
    await until(first.task.done)
    assert first.task.cancelled()
    assert second.grant.epoch == 2
    assert office.worker.free == 1


async def test_a_heartbeat_names_what_is_held_and_tells_what_changed_once(office: Office) -> None:
    office.take([grant()])
    await until(lambda: office.begun)
    office.begun[0].progress, office.begun[0].provider_status = 0.5, "processing"
    await office.worker.heartbeat(1)
    await office.worker.heartbeat(1)
    first, second = (heartbeat.held[0] for heartbeat in office.on.jobs.heartbeats[-2:])
    assert (first.job_id, first.epoch, first.progress, first.provider_status) == ("job-1", 1, 0.5, "processing")
    assert (second.HasField("progress"), second.provider_status) == (False, "")
    heartbeat = office.on.jobs.heartbeats[-1]
    assert (heartbeat.slots, heartbeat.free_slots, heartbeat.no_creates) == (2, 1, False)
    assert heartbeat.reads_wanted > 0


async def test_what_a_heartbeat_calls_lost_is_dropped_and_what_is_to_be_canceled_learns_it(office: Office) -> None:
    office.take([grant(job_id="lost"), grant(job_id="cancel")])
    await until(lambda: len(office.begun) == 2)
    office.on.jobs.lost, office.on.jobs.cancel = {"lost"}, {"cancel"}
    await office.worker.heartbeat(1)
    await until(lambda: office.worker.free == 1)
    lost, cancel = office.begun
    assert (lost.end_asked.done(), cancel.end_asked.done()) == (False, True)
    assert office.on.jobs.entries("Release") == []


async def test_while_the_bucket_refuses_claims_and_heartbeats_say_so(office: Office) -> None:
    office.on.bucket.usable.clear()
    await office.ring("job-1")
    await until(lambda: office.on.jobs.claims)
    await office.worker.heartbeat(1)
    assert office.on.jobs.claims[0].no_creates
    assert office.on.jobs.heartbeats[-1].no_creates


async def test_jobs_hear_at_once_that_creates_are_possible(office: Office) -> None:
    """A generator that just began knows its bucket a moment after its first heartbeat; until the next nothing is rung for it."""
    office.on.jobs.timing = pb.Timing(silence_seconds=PATIENT, heartbeat_seconds=600, lease_seconds=600)
    office.on.bucket.usable.clear()
    beating = asyncio.create_task(office.worker.heartbeats())
    await until(lambda: len(office.on.jobs.heartbeats) == 1)
    office.on.bucket.usable.set()
    await until(lambda: len(office.on.jobs.heartbeats) == 2)
    assert [heartbeat.no_creates for heartbeat in office.on.jobs.heartbeats] == [True, False]
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)


async def test_without_a_recent_heartbeat_nothing_is_claimed_and_no_message_kept(office: Office) -> None:
    office.on.leash.heard_at = time.monotonic() - office.on.leash.timing.lease_seconds
    message = await office.ring("job-1")
    await until(lambda: message.fate)
    assert (message.fate, [claim for claim in office.on.jobs.claims if claim.job_ids]) == ("requeued", [])


async def test_an_intent_is_as_old_as_jobs_say_that_it_is(office: Office) -> None:
    office.take([grant(intent_id="of an earlier try", intent_age_seconds=7)])
    await until(lambda: office.begun)
    assert 7 <= time.monotonic() - office.begun[0].asked_at < 7 + 5


async def test_a_job_that_crashes_frees_its_slot_and_leaves_its_lease_to_expire(office: Office) -> None:
    async def crash(held: Held) -> str:
        raise RuntimeError("a mistake of ours")

    office.worker._run = crash
    office.take([grant()])
    await until(lambda: office.worker.free == 2)
    await office.worker.heartbeat(1)
    assert list(office.on.jobs.heartbeats[-1].held) == []
    assert office.on.jobs.entries("Release") == []


async def test_a_drain_releases_what_is_held_and_says_goodbye(office: Office) -> None:
    office.take([grant(job_id="a"), grant(job_id="b", mode=pb.MODE_ATTACH)])
    await until(lambda: len(office.begun) == 2)
    began = time.monotonic()
    await office.worker.drain(office.claiming)
    assert time.monotonic() - began < 2
    assert {(entry.job_id, entry.epoch, entry.reason) for entry in office.on.jobs.entries("Release")} == {
        ("a", 1, "drain"),
        ("b", 1, "drain"),
    }
    assert (office.on.jobs.heartbeats[-1].leaving, office.on.jobs.heartbeats[-1].free_slots) == (True, 0)


async def test_what_is_granted_while_the_drain_begins_is_given_back_too(office: Office) -> None:
    office.on.leash.drain()
    office.take([grant(job_id="late")])
    await office.worker.drain(office.claiming)
    assert office.begun == []
    assert [entry.job_id for entry in office.on.jobs.entries("Release")] == ["late"]


async def test_a_drain_gives_back_an_intent_that_nothing_was_sent_by(office: Office) -> None:
    office.on.leash.drain()
    office.take([grant(job_id="late", intent_id="unused")])
    await office.worker.drain(office.claiming)
    [refusal] = office.on.jobs.entries("RecordRefusal")
    assert (refusal.job_id, refusal.intent_id, refusal.kind) == ("late", "unused", pb.REFUSAL_KIND_NOT_SENT)
    assert office.on.jobs.entries("Release") == []


async def test_a_drain_says_nothing_of_an_intent_whose_post_has_no_answer(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    on = office.on
    monkeypatch.setattr("generator.worker.DRAIN_SECONDS", 0.2)
    on.replicate.answer = asyncio.Event().wait
    office.worker._run = lambda held: run_job(held, on.tools)
    office.take([grant(intent_id="used", cancel_after_seconds=60)])
    await until(lambda: on.replicate.posts)
    await office.worker.drain(office.claiming)
    assert on.jobs.entries("RecordRefusal") == []


async def test_a_drain_waits_for_a_create_in_flight_and_hands_its_prediction_on(office: Office) -> None:
    on, answered = office.on, asyncio.Event()

    async def slow() -> Created:
        await answered.wait()
        return Created({"id": "paid"})

    on.replicate.answer = slow
    office.worker._run = lambda held: run_job(held, on.tools)
    office.take([grant(job_id="sending"), grant(job_id="waiting", mode=pb.MODE_ATTACH, prediction_id="other")])
    on.replicate.make("other")
    await until(lambda: on.replicate.posts)
    draining = asyncio.create_task(office.worker.drain(office.claiming))
    await holds(lambda: not draining.done(), seconds=0.1)
    answered.set()
    await draining
    assert [entry.prediction_id for entry in on.jobs.entries("RecordPrediction")] == ["paid"]
    assert {entry.job_id for entry in on.jobs.entries("Release")} == {"sending", "waiting"}
    verbs = [verb for verb, _, _ in on.jobs.calls]
    assert verbs.index("RecordPrediction") < verbs.index("Release")
    assert on.replicate.canceled == []
