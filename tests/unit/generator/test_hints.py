"""What jobs tells of webhooks: heeded at once, believed never, and missed by nobody while it is not there."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import grpc
import pytest

from generator import hints
from generator.hints import Hints
from generator_doubles import Bench, bench
from mediagen.jobs.v1 import worker_pb2 as pb
from waiting import holds, until


@pytest.fixture
async def on(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """A bench that listens, and polls once in ten minutes."""
    monkeypatch.setattr(hints, "AGAIN_SECONDS", 0.05)
    async with bench() as made:
        made.leash.heard(time.monotonic(), pb.Timing(poll_seconds=600, heartbeat_seconds=600, lease_seconds=600))
        listening = asyncio.create_task(Hints(made.client, made.replicate, made.poller, made.budget).run(made.leash))
        yield made
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening


async def old_predictions(on: Bench) -> list[asyncio.Future[dict[str, object]]]:
    """So many that the next round is long away."""
    made = [on.poller.follow(f"p{n}", on.replicate.make(f"p{n}")["created_at"], lambda *_: None) for n in range(600)]
    await until(lambda: on.replicate.pages >= 6)
    return made


async def test_a_prediction_that_has_ended_is_seen_at_once(on: Bench) -> None:
    followed = await old_predictions(on)
    on.replicate.succeed("p7")
    on.jobs.news.put_nowait(pb.WatchPredictionsResponse(ended_prediction_ids=["p7", "p8"]))
    async with asyncio.timeout(5):
        assert (await followed[7])["status"] == "succeeded"
    await until(lambda: "p8" in on.replicate.gets)
    assert not followed[8].done(), "jobs said that it has ended, Replicate does not"
    for future in followed:
        future.cancel()


INTENT = "5b0c7a52-0f6e-4f0e-9f6c-0a1b2c3d4e5f"
OWN = {"webhook": f"https://example.com/webhooks/replicate/{INTENT}?token=t"}
CLAIMED = pb.ClaimedCreation(
    job_id="job-1", intent_id=INTENT, prediction_id="made", model="owner/name", input='{"prompt":"p"}', request_id="r"
)


def tell(on: Bench) -> None:
    on.jobs.news.put_nowait(pb.WatchPredictionsResponse(creations=[CLAIMED]))


@pytest.mark.parametrize(
    "shown", [{**OWN, "input": None}, {"webhook": None}, {}], ids=["marked", "no webhook shown", "as it was sent"]
)
async def test_what_a_lost_create_made_is_reported_for_its_intent(on: Bench, shown: dict[str, object]) -> None:
    on.replicate.make("made", **shown)
    tell(on)
    [created] = await until(lambda: on.jobs.entries("RecordPrediction"))
    assert (created.job_id, created.epoch, created.intent_id, created.prediction_id) == ("job-1", 0, INTENT, "made")
    assert on.replicate.canceled == []


@pytest.mark.parametrize(
    "shown",
    [
        {"webhook": "https://example.com/webhooks/replicate/00000000-0f6e-4f0e-9f6c-0a1b2c3d4e5f?token=t"},
        {"input": {"prompt": "another"}},
        {"model": "owner/other"},
        {"input": None},
    ],
    ids=["marked as another's", "another input", "another model", "erased"],
)
async def test_a_prediction_that_is_not_of_that_create_is_not_reported(on: Bench, shown: dict[str, object]) -> None:
    on.replicate.make("made", **shown)
    tell(on)
    await until(lambda: on.replicate.gets == ["made"])
    await holds(lambda: not on.jobs.entries("RecordPrediction"), seconds=0.3)


async def test_a_prediction_that_is_not_readable_at_once_is_read_again_and_one_that_never_is_is_not_reported(on: Bench) -> None:
    tell(on)
    await until(lambda: on.replicate.gets)
    on.replicate.make("made", **OWN)
    await until(lambda: on.jobs.entries("RecordPrediction"))
    del on.replicate.predictions["made"]
    tell(on)
    await until(lambda: len(on.replicate.gets) == 5)
    assert len(on.jobs.entries("RecordPrediction")) == 1


async def test_an_orphan_is_cancelled(on: Bench) -> None:
    on.jobs.answers["RecordPrediction"] = pb.RESULT_ORPHAN
    on.replicate.make("made", **OWN)
    tell(on)
    await until(lambda: on.replicate.canceled == ["made"])


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL])
async def test_a_watch_that_breaks_is_begun_again(on: Bench, code: grpc.StatusCode) -> None:
    await until(lambda: on.jobs.watches == 1)
    on.jobs.news.put_nowait(code)
    await until(lambda: on.jobs.watches == 2)
    on.replicate.make("made", **OWN)
    tell(on)
    await until(lambda: on.jobs.entries("RecordPrediction"))


async def test_a_watch_ends_by_itself_and_is_begun_again(on: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "WATCH_SECONDS", 0.2)
    on.jobs.news.put_nowait(grpc.StatusCode.UNAVAILABLE)
    await until(lambda: on.jobs.watches >= 4)


async def test_jobs_that_know_of_no_watch_are_not_asked_all_the_time(on: Bench) -> None:
    on.jobs.failing["WatchPredictions"] = [grpc.StatusCode.UNIMPLEMENTED] * 1000
    on.jobs.news.put_nowait(grpc.StatusCode.UNAVAILABLE)
    await until(lambda: len(on.jobs.failing["WatchPredictions"]) < 1000)
    await holds(lambda: len(on.jobs.failing["WatchPredictions"]) > 980, seconds=1)
