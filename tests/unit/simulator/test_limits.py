"""The account's rate limits, and the ledger's count of how fast it was asked."""

import asyncio

import pytest

from simulator.ledger import Pace
from simulator.limits import Bucket, bucket


def test_a_bucket_gives_its_burst_and_then_its_rate():
    creates = bucket(600)
    assert [creates.take(10.0) for _ in range(100)] == [0.0] * 100
    assert creates.take(10.0) == pytest.approx(0.1)
    assert creates.take(10.11) == 0.0
    assert creates.take(10.11) > 0


def test_low_credit_is_one_at_a_time():
    low = Bucket(6, burst=1)
    assert (low.take(0.0), low.take(0.0), low.take(10.0)) == (0.0, pytest.approx(10), 0.0)


def test_zero_is_unlimited():
    assert {bucket(0).take(0.0) for _ in range(1000)} == {0.0}


def test_a_pace_knows_its_busiest_minute():
    pace = Pace()
    for moment in (0, 1, 2, 30, 59, 61, 62, 200):
        pace.count(moment)
    assert (pace.total, pace.most) == (8, 5)


async def test_too_many_creates_get_429_and_make_nothing(start):
    simulator = await start(creates_per_minute=12)
    statuses = [(await simulator.create()).status_code for _ in range(4)]
    assert statuses == [201, 201, 429, 429]
    ledger = await simulator.ledger()
    assert (ledger["creates"], ledger["posts"], ledger["refused"], ledger["throttled"]) == (2, 4, {"429": 2}, 2)


async def test_too_many_reads_get_429(start):
    simulator = await start(reads_per_minute=6)
    answers = [await simulator.client.get("/v1/predictions") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].json() == {"detail": "Request was throttled. Your rate limit resets in ~10s."}
    ledger = await simulator.ledger()
    assert (ledger["reads"], ledger["reads_by_call"], ledger["max_reads_in_a_minute"]) == (2, {"list": 2}, 2)


async def test_low_credit_leaves_six_creates_a_minute(simulator):
    await simulator.faults({"effect": "low_credit"})
    answers = [await simulator.create() for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 429]
    assert answers[1].json()["retry_after"] == 10
    assert "less than $5.0 in credit" in answers[1].json()["detail"]


async def test_the_form_of_a_real_429_can_be_chosen(start):
    simulator = await start(creates_per_minute=6)
    await simulator.faults({"effect": "throttle_form", "answer": "throttled", "retry_after_header": True})
    _, throttled = [await simulator.create() for _ in range(2)]
    assert throttled.json() == {"detail": "Request was throttled. Expected available in 10 seconds."}
    assert throttled.headers["Retry-After"] == "10"


async def test_a_reset_empties_everything(simulator):
    await simulator.faults({"effect": "read_answer", "answer": "bad_gateway"})
    await asyncio.gather(*(simulator.create() for _ in range(3)))
    assert (await simulator.client.post("/control/reset")).status_code == 204
    ledger = await simulator.ledger()
    assert (ledger["creates"], ledger["posts"], ledger["predictions"]) == (0, 0, [])
    assert (await simulator.client.get("/v1/predictions")).json()["results"] == []


async def test_the_control_interface_is_off_unless_it_is_switched_on(start):
    simulator = await start(control=False)
    for path in ("/control/ledger", "/control/faults", "/control/reset"):
        assert (await simulator.client.get(path)).status_code == 404
