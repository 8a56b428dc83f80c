"""Faults of the answers themselves: slow bodies, wrong lengths, and prediction objects that surprise a reader."""

import asyncio
import time
from datetime import datetime

import httpx
import pytest

LOGS = 10_000_000


@pytest.mark.parametrize("call", ["create", "get", "list"])
async def test_a_body_comes_slowly_after_headers_that_come_at_once(simulator, call):
    created = (await simulator.create()).json()["id"]
    whole = len((await simulator.client.get("/v1/predictions")).content)
    await simulator.faults({"effect": "answer_slow", "bytes_per_second": whole // 2, "calls": [call]})
    requests = {
        "create": ("POST", "/v1/predictions", {"version": "black-forest-labs/flux-schnell", "input": {"prompt": "slow"}}),
        "get": ("GET", f"/v1/predictions/{created}", None),
        "list": ("GET", "/v1/predictions", None),
    }
    method, path, body = requests[call]
    begun = time.monotonic()
    async with simulator.client.stream(method, path, json=body) as answer:
        headers_after = time.monotonic() - begun
        await answer.aread()
    assert time.monotonic() - begun - headers_after > 0.5
    assert answer.json()
    await simulator.client.get("/v1/account")
    assert (await simulator.client.get("/control/faults")).json()["rules"][0]["applied"] == 1, "no other call is slow"


async def test_a_create_whose_body_comes_too_slowly_leaves_a_prediction_that_nobody_heard_of(simulator):
    await simulator.faults({"effect": "answer_slow", "bytes_per_second": 1, "times": 1})
    simulator.client.timeout = httpx.Timeout(5, read=0.7)
    with pytest.raises(httpx.ReadTimeout):
        await simulator.create()
    simulator.client.timeout = httpx.Timeout(5)
    [row] = (await simulator.ledger())["predictions"]
    assert (row["answered"], row["faults"]) == (False, ["answer_slow"])


async def test_a_create_whose_body_comes_slowly_is_answered_to_a_patient_client(simulator):
    await simulator.faults({"effect": "answer_slow", "bytes_per_second": 5000, "times": 1})
    created = (await simulator.create()).json()
    [row] = (await simulator.ledger())["predictions"]
    assert (row["id"], row["answered"]) == (created["id"], True)


async def test_a_content_length_may_promise_more_than_comes(simulator):
    created = (await simulator.create()).json()["id"]
    await simulator.faults({"effect": "answer_length", "promises": "more", "calls": ["get", "create"]})
    with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
        await simulator.prediction(created)
    with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
        await simulator.create()
    ledger = await simulator.ledger()
    assert (ledger["creates"], ledger["predictions"][1]["answered"]) == (2, False)
    assert ledger["predictions"][1]["faults"] == ["answer_length"]


async def test_a_content_length_may_promise_less_than_comes(simulator):
    created = (await simulator.create()).json()["id"]
    whole = (await simulator.client.get(f"/v1/predictions/{created}")).content
    await simulator.faults({"effect": "answer_length", "promises": "less", "calls": ["get"], "times": 1})
    host, port = simulator.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET /v1/predictions/{created} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer x\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    [promised] = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    assert promised == len(body) // 2
    assert len(body) >= len(whole) > promised


async def test_a_client_that_believes_a_length_reads_half_a_body(simulator):
    created = (await simulator.create()).json()["id"]
    await simulator.faults({"effect": "answer_length", "promises": "less", "calls": ["get"], "times": 1})
    with pytest.raises((ValueError, httpx.RemoteProtocolError)):
        await simulator.prediction(created)
    assert (await simulator.prediction(created))["id"] == created


@pytest.mark.parametrize("error", [{"code": "E1000", "message": "unknown"}, ["one", "two"], {}, ""])
async def test_an_error_may_be_something_else_than_a_text(simulator, error):
    await simulator.faults({"effect": "prediction_ends", "status": "failed", "error": error})
    found = await simulator.finished(await simulator.create())
    assert (found["status"], found["error"]) == ("failed", error)


async def test_logs_may_be_ten_megabytes_with_the_progress_at_their_end(simulator, receiver):
    await simulator.faults({"effect": "prediction_logs", "size": LOGS})
    created = await simulator.told(receiver.url, "completed")
    found = await simulator.finished(created)
    assert LOGS < len(found["logs"]) < LOGS + 2000
    assert found["logs"].splitlines()[-1].startswith("100%|")
    await receiver.until(1)
    assert receiver.arrivals[0].prediction == found, "a webhook is as large"


@pytest.mark.parametrize(("digits", "length"), [(0, 20), (3, 24), (6, 27), (9, 30)])
async def test_times_may_have_other_fractions(simulator, digits, length):
    await simulator.faults({"effect": "prediction_times", "digits": digits})
    found = await simulator.finished(await simulator.create())
    times = [found[name] for name in ("created_at", "started_at", "completed_at")]
    assert [len(time) for time in times] == [length] * 3
    assert all(time.endswith("Z") for time in times)
    listed = (await simulator.client.get("/v1/predictions", params={"created_after": found["created_at"]})).json()["results"]
    assert [other["id"] for other in listed] == [found["id"]]


async def test_a_prediction_may_end_before_its_create(simulator):
    await simulator.faults({"effect": "prediction_times", "ends_before": 60})
    found = await simulator.finished(await simulator.create())
    created, ended = (datetime.fromisoformat(found[name]) for name in ("created_at", "completed_at"))
    assert (created - ended).total_seconds() == pytest.approx(60, abs=0.001)
    [row] = (await simulator.ledger())["predictions"]
    assert row["completed_at"] > row["created_at"]
    assert row["faults"] == ["prediction_times"]
