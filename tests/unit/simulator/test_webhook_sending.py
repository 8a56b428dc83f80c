"""How webhooks are sent: the filter, the throttle, attempts after attempts, and many at a time."""

import asyncio
from datetime import datetime
from itertools import pairwise

import pytest
from starlette.responses import RedirectResponse, Response

from simulator.webhook_message import Message
from waiting import holds, until

from .conftest import free_port
from .receiver import receiving

LLAMA = "meta/meta-llama-3-8b-instruct"


def closest(rows, *events):
    """The least time between two requests about these events, in seconds, as they were sent: they may arrive late."""
    sent = [datetime.fromisoformat(row["sent_at"]).timestamp() for row in rows if row["event"] in events]
    return min(later - earlier for earlier, later in pairwise(sent))


async def test_without_a_filter_the_output_and_the_end_are_told(simulator, receiver):
    created = await simulator.told(receiver.url)
    rows = await simulator.deliveries(created, 2)
    assert [row["event"] for row in rows] == ["output", "completed"]
    output, completed = receiver.arrivals
    assert (output.status, completed.status) == ("processing", "succeeded")
    assert output.prediction["output"] == completed.prediction["output"] != []
    assert (output.prediction["completed_at"], "metrics" in output.prediction) == (None, False)


@pytest.mark.parametrize(
    ("events", "told"),
    [
        (["start"], ["start"]),
        (["completed"], ["completed"]),
        (["output"], ["output"]),
        (["completed", "start"], ["start", "completed"]),
        ([], []),
    ],
)
async def test_only_what_the_filter_names_is_told(simulator, receiver, events, told):
    body = {"version": "black-forest-labs/flux-schnell", "input": {"prompt": "x"}, "webhook": receiver.url}
    created = await simulator.client.post("/v1/predictions", json={**body, "webhook_events_filter": events})
    await simulator.finished(created)
    rows = await simulator.deliveries(created, len(told))
    await holds(lambda: len(receiver.arrivals) == len(told), 0.3)
    assert [row["event"] for row in rows] == told


async def test_logs_are_told_at_most_once_in_500_ms(simulator, receiver):
    await simulator.faults({"effect": "prediction_duration", "seconds": 2.8})
    created = await simulator.told(receiver.url, "start", "logs", "completed")
    await simulator.finished(created)
    await until(lambda: receiver.statuses[-1:] == ["succeeded"])
    logs = receiver.arrivals[1:-1]
    assert 2 <= len(logs) <= 6, "between the start and the end"
    assert closest(await simulator.deliveries(created, len(logs) + 2), "logs") > 0.45
    written = [len(arrival.prediction["logs"]) for arrival in logs]
    assert written == sorted(set(written)), "each tells more than the one before"


async def test_output_and_logs_of_a_language_model_share_the_throttle(simulator, receiver):
    await simulator.faults({"effect": "prediction_duration", "seconds": 1.8})
    created = await simulator.told(receiver.url, "output", "logs", "completed", version=LLAMA)
    await until(lambda: receiver.statuses[-1:] == ["succeeded"])
    running = receiver.arrivals[:-1]
    rows = await simulator.deliveries(created, len(running) + 1)
    assert "output" in {row["event"] for row in rows}
    assert closest(rows, "output", "logs") > 0.45
    pieces = [len(arrival.prediction["output"] or []) for arrival in running]
    assert pieces == sorted(pieces)
    assert 0 < pieces[-1] <= len(receiver.arrivals[-1].prediction["output"])


def test_the_waits_between_attempts_double_up_to_a_minute_after_the_end():
    message = Message("completed", b"{}", since=1000.0, retried=True)
    moments, now = [], 1000.0
    while (moment := message.next_attempt(now, 60)) is not None:
        moments.append(moment - 1000)
        now = moment
    assert moments == pytest.approx([60 / 63, 3 * 60 / 63, 7 * 60 / 63, 15 * 60 / 63, 31 * 60 / 63, 60])
    assert message.next_attempt(1000 + 20, 60) == pytest.approx(1000 + 31 * 60 / 63), "what is past is left out"


async def test_the_end_is_tried_again_with_the_same_id_and_a_refused_start_is_not(start, receiver):
    simulator = await start(webhook_retry_seconds=6.3)
    receiver.answer = lambda _: Response(status_code=503)
    created = await simulator.told(receiver.url, "start", "completed")
    ended = await simulator.finished(created)
    await until(lambda: simulator.account.webhooks.waiting == 0, 60)
    rows = await simulator.deliveries(created, 5)
    assert [row["event"] for row in rows] == ["start", *["completed"] * (len(rows) - 1)]
    assert [row["attempt"] for row in rows[1:]] == list(range(1, len(rows)))
    assert len(rows) <= 1 + 7, "on a loaded machine some may be left out"
    attempts = receiver.arrivals[1:]
    assert len({arrival.headers["webhook-id"] for arrival in attempts}) == 1
    assert len({arrival.headers["webhook-timestamp"] for arrival in attempts}) > 1
    assert {arrival.body for arrival in attempts} == {attempts[0].body}
    assert attempts[0].prediction == ended
    assert attempts[-1].at - datetime.fromisoformat(ended["completed_at"]).timestamp() >= 6.3


async def test_an_attempt_that_is_taken_is_the_last(start, receiver):
    simulator = await start(webhook_retry_seconds=12.6)
    receiver.answer = lambda _: Response(status_code=503 if len(receiver.arrivals) < 3 else 202)
    created = await simulator.told(receiver.url, "completed")
    rows = await simulator.deliveries(created, 3)
    await holds(lambda: len(receiver.arrivals) == 3, 1.5)
    assert [row["answer"] for row in rows] == [503, 503, 202]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed_and_not_taken(start, receiver, status):
    simulator = await start(webhook_retry_seconds=10)
    receiver.answer = lambda _: RedirectResponse(f"{receiver.url}/elsewhere", status)
    created = await simulator.told(f"{receiver.url}/here", "completed")
    rows = await simulator.deliveries(created, 2)
    assert {row["answer"] for row in rows} == {status}
    assert {arrival.path for arrival in receiver.arrivals} == {"/here"}


@pytest.mark.parametrize("status", [400, 404, 410, 500, 502])
async def test_refusals_of_every_kind_are_tried_again(start, receiver, status):
    simulator = await start(webhook_retry_seconds=10)
    receiver.answer = lambda _: Response(status_code=status if len(receiver.arrivals) == 1 else 204)
    rows = await simulator.deliveries(await simulator.told(receiver.url, "completed"), 2)
    assert [row["answer"] for row in rows] == [status, 204]


@pytest.mark.parametrize("url", ["https://a..b/", f"https://{'a' * 300}.example/", "https://127.0.0.1:1/", "https://[v1.a]/"])
async def test_a_webhook_that_leads_nowhere_harms_no_other(start, receiver, url):
    simulator = await start(webhook_retry_seconds=0)
    created = await simulator.told(url, "start", "completed")
    rows = await simulator.deliveries(created, 2)
    assert [row["answer"] for row in rows] == ["connection failed", "connection failed"]
    await simulator.told(receiver.url, "completed")
    await receiver.until(1)


async def test_a_receiver_that_comes_back_is_told_the_end(start):
    simulator = await start(webhook_retry_seconds=20)
    port = free_port()
    created = await simulator.told(f"http://127.0.0.1:{port}/", "start", "completed")
    rows = await simulator.deliveries(created, 2)
    assert [row["answer"] for row in rows[:2]] == ["connection failed", "connection failed"]
    async with receiving(port) as receiver:
        await receiver.until(1)
        assert receiver.statuses == ["succeeded"]
        await until(lambda: simulator.account.webhooks.sent["acknowledged"] == 1)


async def test_a_receiver_that_does_not_answer_is_given_up_and_holds_up_nobody(start, monkeypatch):
    monkeypatch.setattr("simulator.webhooks.ANSWER_SECONDS", 0.5)
    simulator = await start(webhook_retry_seconds=0)

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    async with silent, receiving(free_port()) as receiver:
        mute = await simulator.told(f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/", "start", "completed")
        await simulator.told(receiver.url, "start", "completed")
        await receiver.until(2)
        rows = await simulator.deliveries(mute, 2)
        assert [row["answer"] for row in rows] == ["timed out", "timed out"]


async def test_five_hundred_predictions_are_told_in_order_and_cheaply(start, receiver):
    simulator = await start(creates_per_minute=0, predict_seconds=0.5, queue_seconds=2)
    others = len(asyncio.all_tasks())
    for number in range(500):
        assert (await simulator.told(f"{receiver.url}/{number}", "start", "completed")).status_code == 201
    tasks = len(asyncio.all_tasks())
    assert tasks - others < 200, "what waits has no task; requests under way have one or two"
    await receiver.until(1000, seconds=60)
    for number in range(500):
        assert [arrival.status for arrival in receiver.of(f"/{number}")] == ["processing", "succeeded"]
    assert (await simulator.ledger())["webhooks"] == {"sent": 1000, "acknowledged": 1000}


async def test_what_waits_costs_no_time_and_what_has_no_webhook_is_not_even_known(start, monkeypatch):
    simulator = await start(creates_per_minute=0)
    await simulator.faults({"effect": "prediction_duration", "seconds": 900})
    webhooks, looks = simulator.account.webhooks, []
    await simulator.create()
    assert webhooks.waiting == 0
    for number in range(500):
        await simulator.told(f"http://127.0.0.1:9/{number}", "completed")
    assert webhooks.waiting == 500
    due = webhooks._due
    monkeypatch.setattr(webhooks, "_due", lambda now: looks.append(now) or due(now))
    await holds(lambda: len(looks) <= 1, 1, what="the task sleeps until the first of them has something to tell")


async def test_a_webhook_that_is_over_is_forgotten(simulator, receiver):
    await simulator.deliveries(await simulator.told(receiver.url), 2)
    await until(lambda: simulator.account.webhooks.waiting == 0)
