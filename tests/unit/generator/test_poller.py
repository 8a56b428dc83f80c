"""One poller for everything that is followed: few reads, and no conclusions from what a page does not show."""

import asyncio
import datetime
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from generator import poller
from generator.poller import Poller, PredictionGone, progress_of
from generator.reads import ReadBudget
from generator.replicate_api import ReadFailed
from generator_doubles import Bench, bench
from mediagen.jobs.v1 import worker_pb2 as pb
from waiting import holds, until


@pytest.fixture
async def on() -> AsyncIterator[Bench]:
    async with bench() as made:
        yield made


def follow(on: Bench, *ids: str) -> list[asyncio.Future[Any]]:
    return [on.poller.follow(one, on.replicate.make(one)["created_at"], lambda *_: None) for one in ids]


async def test_hundreds_of_predictions_cost_a_read_for_each_hundred(on: Bench) -> None:
    followed = follow(on, *(f"p{number}" for number in range(250)))
    for number in range(250):
        on.replicate.succeed(f"p{number}")
    ended = await asyncio.gather(*followed)
    assert {one["status"] for one in ended} == {"succeeded"}
    assert on.replicate.pages == 3
    assert on.replicate.gets == []


async def test_what_the_list_does_not_show_is_read_by_itself(on: Bench) -> None:
    followed = follow(on, *(f"p{number}" for number in range(10)))
    on.replicate.hidden = {"p0", "p9"}
    for number in range(10):
        on.replicate.succeed(f"p{number}")
    await asyncio.gather(*followed)
    assert sorted(on.replicate.gets) == ["p0", "p9"]


async def test_strangers_predictions_are_jumped_over(on: Bench) -> None:
    [*followed] = follow(on, *(f"old{number}" for number in range(20)))
    now = datetime.datetime.now(datetime.UTC)
    for number in range(1000):  # another application's, all newer
        made = now + datetime.timedelta(seconds=10 + number)
        on.replicate.make(f"stranger{number}", created_at=made.isoformat(timespec="microseconds"))
    for number in range(20):
        on.replicate.succeed(f"old{number}")
    await asyncio.gather(*followed)
    assert on.replicate.pages == 2


async def test_only_the_404_of_its_own_address_and_only_a_lasting_one_makes_a_prediction_gone(
    on: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    [here, gone] = follow(on, "here", "gone")
    on.replicate.hidden = {"here", "gone"}
    kept = on.replicate.predictions.pop("gone")
    await until(lambda: len(on.replicate.gets) >= 3)
    on.replicate.predictions["gone"] = kept  # it had only been slow to appear
    await holds(lambda: not gone.done(), seconds=0.3)
    monkeypatch.setattr(poller, "GONE_SECONDS", 0.2)
    del on.replicate.predictions["gone"]
    with pytest.raises(PredictionGone):
        await gone
    assert not here.done()
    here.cancel()


async def test_a_new_prediction_may_take_its_time_to_be_readable_however_often_it_is_looked_at(on: Bench) -> None:
    kept = on.replicate.make("slow")
    del on.replicate.predictions["slow"]
    slow = on.poller.follow("slow", kept["created_at"], lambda *_: None)
    await until(lambda: len(on.replicate.gets) >= 5)
    assert not slow.done()
    on.replicate.predictions["slow"] = kept
    on.replicate.succeed("slow")
    assert (await slow)["status"] == "succeeded"


async def test_a_list_that_fails_does_not_keep_predictions_from_ending(on: Bench) -> None:
    async def page(**_: Any) -> Any:
        raise ReadFailed("an answer above 33554432 bytes")

    on.replicate.page = page
    followed = follow(on, *(f"p{number}" for number in range(20)))
    for number in range(20):
        on.replicate.succeed(f"p{number}")
    await asyncio.gather(*followed)


async def test_an_unknown_status_is_no_end(on: Bench) -> None:
    seen: list[tuple[float | None, str]] = []
    on.replicate.make("odd", status="hibernating", logs=" 40%|####      | 4/10")
    ended = on.poller.follow("odd", None, lambda *change: seen.append(change))
    await until(lambda: seen)
    assert seen[0] == (0.4, "hibernating")
    assert not ended.done()
    on.replicate.succeed("odd")
    assert (await ended)["status"] == "succeeded"


async def test_a_page_that_leaves_out_an_output_is_not_believed(on: Bench) -> None:
    followed = follow(on, *(f"p{number}" for number in range(5)))
    whole, on.replicate.page = on.replicate.page, None

    async def without_output(**query: Any) -> Any:
        page = await whole(**query)
        for item in page.results:
            item["output"] = None
        return page

    on.replicate.page = without_output
    for number in range(5):
        on.replicate.succeed(f"p{number}")
    assert {one["output"] for one in await asyncio.gather(*followed)} == {"words"}


async def test_no_more_is_read_than_was_handed_out(on: Bench) -> None:
    on.budget.grant(2, 60)
    followed = follow(on, "a", "b", "c")
    await until(lambda: len(on.replicate.gets) == 2)
    await holds(lambda: len(on.replicate.gets) == 2, seconds=0.3)
    assert on.budget.wanted() > 2
    for future in followed:
        future.cancel()


async def test_what_is_said_to_have_ended_is_read_at_once_and_believed_only_as_it_is_read(on: Bench) -> None:
    on.leash.heard(time.monotonic(), pb.Timing(poll_seconds=600, heartbeat_seconds=600, lease_seconds=600))
    followed = follow(on, *(f"p{number}" for number in range(600)))  # a round every 12 s at most
    await until(lambda: on.replicate.pages >= 6)
    on.replicate.succeed("p7")
    await on.poller.look_now(["p7", "p8", "somebody else's"])
    assert on.replicate.gets == ["p7", "p8"]
    assert (await followed[7])["status"] == "succeeded"
    assert not followed[8].done()
    for future in followed:
        future.cancel()


async def test_a_look_does_not_wait_for_the_next_share_of_reads(on: Bench) -> None:
    on.leash.heard(time.monotonic(), pb.Timing(poll_seconds=600, heartbeat_seconds=600, lease_seconds=600))
    on.budget.grant(0, 600)
    [one] = follow(on, "one")
    on.replicate.succeed("one")
    await on.poller.look_now(["one"])
    assert (await one)["status"] == "succeeded"


async def test_a_look_that_fails_leaves_it_to_the_rounds(on: Bench) -> None:
    async def get(prediction_id: str) -> Any:
        raise ReadFailed("get: HTTP 503")

    on.replicate.get, works = get, on.replicate.get
    [one] = follow(on, "one")
    await on.poller.look_now(["one"])
    on.replicate.get = works
    on.replicate.succeed("one")
    assert (await one)["status"] == "succeeded"


async def test_whoever_lets_go_is_not_read_for_any_more(on: Bench) -> None:
    [one] = follow(on, "one")
    one.cancel()
    await holds(lambda: on.replicate.gets == [], seconds=0.3)


def test_rounds_come_sooner_while_predictions_are_young_and_few() -> None:
    async def interval(count: int, age: float) -> float:
        poller = Poller(None, ReadBudget())  # type: ignore[arg-type]
        for number in range(count):
            poller.follow(str(number), None, lambda *_: None)
        for followed in poller._followed.values():
            followed.since -= age
        return round(poller._interval(10), 1)

    assert [asyncio.run(interval(*case)) for case in [(1, 0), (1, 20), (1, 100), (100, 0), (1000, 0)]] == [0.5, 5, 10, 2, 10]


@pytest.mark.parametrize(
    ("logs", "progress"),
    [
        ("  0%|          | 0/28 [00:00<?]\r 50%|#####     | 14/28", 0.5),
        ("100%|##########| 28/28", 1.0),
        ("999%|##", 1.0),
        ("50% done", None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_progress_is_read_from_the_logs(logs: Any, progress: float | None) -> None:
    assert progress_of({"logs": logs}) == progress


async def test_without_heartbeats_the_last_share_is_taken_again() -> None:
    budget = ReadBudget()
    assert not budget.take()
    budget.grant(1, 0.05)
    assert [budget.take(), budget.take()] == [True, False]
    await until(budget.take)
