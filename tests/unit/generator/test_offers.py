"""Slots that are held out: how many, what is begun in them, and what becomes of them when an offer ends."""

import asyncio
import time
from collections.abc import AsyncIterator

import grpc
import pytest

from generator.bells import Bells
from generator.claims import Claims
from generator.held import Held
from generator.offers import Offers
from generator.worker import Worker
from generator_doubles import TIMING, Bench, bench, grant
from mediagen.jobs.v1 import worker_pb2 as pb
from unit.generator.test_worker import Message, be_patient, named
from waiting import holds, until


class Desk:
    """A worker with four slots, its offers and its claims; its jobs last until they are told to end."""

    def __init__(self, on: Bench) -> None:
        self.on = on
        self.begun: list[Held] = []
        self.end = asyncio.Event()
        self.worker = Worker(on.client, on.leash, on.budget, on.bucket, 4, self.run)
        self.bells = Bells(self.worker.changed)
        self.claiming = asyncio.create_task(Claims(on.client, self.worker, self.bells, on.bucket, on.leash).run())
        self.offering = asyncio.create_task(Offers(on.client, self.worker, on.bucket, on.leash).run())

    async def run(self, held: Held) -> str:
        self.begun.append(held)
        await self.end.wait()
        held.settled = True
        return "done"

    @property
    def offered(self) -> list[str]:
        """Every intent so far."""
        return [intent_id for word in self.on.jobs.words for intent_id in word.intent_ids]

    def grant(self, job: str, intent_id: str, **fields: float) -> None:
        granted = grant(job_id=named(job), intent_id=intent_id, **fields)
        self.on.jobs.granting.put_nowait(pb.OfferResponse(grants=[granted]))

    def jobs_begun(self) -> list[str]:
        return [held.grant.job_id for held in self.begun]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with bench() as on:
        be_patient(on)
        made = Desk(on)
        await until(lambda: made.offered)
        yield made
        for task in (made.claiming, made.offering):
            task.cancel()
        await asyncio.gather(made.claiming, made.offering, return_exceptions=True)


async def test_half_of_the_slots_are_held_out_and_claims_ask_for_the_others(desk: Desk) -> None:
    assert len(set(desk.offered)) == 2
    assert desk.worker.free == 2
    await desk.worker.heartbeat(5)
    assert desk.on.jobs.heartbeats[-1].free_slots == 4


async def test_what_is_granted_is_begun_and_more_slots_follow(desk: Desk) -> None:
    first, second = desk.offered
    before = time.monotonic()
    desk.grant("a", first, offered_seconds=0.0)
    desk.grant("b", second, offered_seconds=1000.0)
    await until(lambda: len(desk.begun) == 2)
    assert desk.jobs_begun() == [named("a"), named("b")]
    # An intent is as old as it may be: from when it was offered, as long after that as jobs says, and never later than now.
    assert desk.begun[0].asked_at < before < desk.begun[1].asked_at <= time.monotonic()
    await until(lambda: len(desk.offered) == 3)  # two are free: one more
    assert desk.worker.free == 1
    desk.end.set()
    await until(lambda: len(desk.offered) > 3)


async def test_an_intent_that_was_never_offered_is_too_old_to_be_sent(desk: Desk) -> None:
    desk.grant("a", "another's")
    await until(lambda: desk.begun)
    assert desk.begun[0].asked_at == -float("inf")


async def test_jobs_hears_of_the_worker_again_and_again(desk: Desk) -> None:
    words = len(desk.on.jobs.words)
    await until(lambda: len(desk.on.jobs.words) > words + 2)
    assert len(desk.offered) == 2


async def test_slots_that_a_message_wants_are_held_out_no_longer(desk: Desk) -> None:
    desk.on.jobs.due = [grant(job_id=named(name)) for name in "abcd"]
    message = Message(*"abcd")
    await desk.bells._deliver(message)  # type: ignore[arg-type]
    await until(lambda: len(desk.begun) == 4)
    assert message.fate == "acked"
    assert [claim.no_creates for claim in desk.on.jobs.claims if claim.job_ids] == [False, False]
    assert desk.on.jobs.offers_ended == 1
    assert desk.worker.free == 0


async def test_what_jobs_has_not_told_of_a_broken_offer_is_claimed_with_its_intents(desk: Desk) -> None:
    offered = desk.offered
    desk.on.jobs.claims.clear()
    desk.on.jobs.due = [grant(job_id=named("a"), intent_id=offered[1], intent_age_seconds=0.5)]
    desk.on.jobs.granting.put_nowait(grpc.StatusCode.UNAVAILABLE)
    await until(lambda: desk.begun)
    claim = next(claim for claim in desk.on.jobs.claims if claim.intent_ids)
    assert (list(claim.intent_ids), claim.slots, list(claim.job_ids), claim.no_creates) == (offered, 2, [], False)
    await until(lambda: desk.on.jobs.offers == 2)
    assert not set(offered) & set(desk.offered[2:])


async def test_slots_that_a_claim_under_way_asks_for_are_not_held_out(desk: Desk) -> None:
    answering = asyncio.Event()
    desk.on.jobs.hold_claims = answering
    await desk.bells._deliver(Message("a", "b"))  # type: ignore[arg-type]
    await until(lambda: desk.worker.asked == 2)
    for number, intent_id in enumerate(desk.offered):
        desk.grant(f"job {number}", intent_id)
    await until(lambda: len(desk.begun) == 2)
    await holds(lambda: len(desk.offered) == 2, 0.3)
    answering.set()
    await until(lambda: len(desk.offered) == 3)  # no job was granted: two are free


async def test_a_broken_offer_of_which_all_slots_were_taken_needs_no_claim(desk: Desk) -> None:
    for number, intent_id in enumerate(desk.offered):
        desk.grant(f"job {number}", intent_id)
    await until(lambda: len(desk.begun) == 2)
    desk.on.bucket.usable.clear()  # no more are held out
    await until(lambda: desk.worker.free == 2)
    claims = len(desk.on.jobs.claims)
    desk.on.jobs.granting.put_nowait(grpc.StatusCode.UNAVAILABLE)
    desk.on.bucket.usable.set()
    await until(lambda: desk.on.jobs.offers >= 2)
    assert len(desk.on.jobs.claims) == claims


async def test_a_jobs_service_that_knows_no_offers_costs_nothing_but_them(desk: Desk) -> None:
    desk.on.jobs.failing["Offer"] = [grpc.StatusCode.UNIMPLEMENTED] * 3
    desk.on.jobs.granting.put_nowait(grpc.StatusCode.UNAVAILABLE)
    await until(lambda: desk.worker.free == 4)
    desk.on.jobs.due = [grant(job_id=named(name)) for name in "abcd"]
    await desk.bells._deliver(Message(*"abcd"))  # type: ignore[arg-type]
    await until(lambda: len(desk.begun) == 4)
    desk.end.set()
    await until(lambda: not desk.on.jobs.failing["Offer"] and desk.on.jobs.offers == 2)


async def test_nothing_is_held_out_while_the_bucket_is_away_or_the_leash_is_loose(desk: Desk) -> None:
    desk.on.bucket.usable.clear()
    await until(lambda: desk.on.jobs.offers_ended == 1 and desk.worker.free == 4)
    offers = desk.on.jobs.offers
    await holds(lambda: desk.on.jobs.offers == offers, 0.3)
    desk.on.leash.heard(-float("inf"), TIMING)
    desk.on.bucket.usable.set()
    await holds(lambda: desk.on.jobs.offers == offers, 0.3)
    be_patient(desk.on)
    await until(lambda: desk.on.jobs.offers > offers)


async def test_a_drain_ends_the_offer_and_gives_back_what_was_granted_last(desk: Desk) -> None:
    draining = asyncio.create_task(desk.worker.drain(desk.claiming, desk.offering))
    desk.grant("a", desk.offered[0])
    await draining
    assert desk.on.jobs.offers_ended == 1
    assert (desk.begun, [refusal.job_id for refusal in desk.on.jobs.entries("RecordRefusal")]) == ([], [named("a")])
