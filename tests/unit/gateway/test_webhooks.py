"""Webhooks of Replicate: what the gateway believes, what it passes on, and what it answers."""

import asyncio
import json
import uuid

import grpc
import pytest
from structlog.testing import capture_logs

from chassis.errors import AppError
from signing import SECRET, signed
from unit.gateway.conftest import OLD_SECRET

INTENT = "5b0c7a52-0f6e-4f0e-9f6c-0a1b2c3d4e5f"
PATH = f"/webhooks/replicate/{INTENT}?token=a-token"


def shown(**fields: object) -> bytes:
    return json.dumps({"id": "ufawqhfyn", "status": "succeeded", "input": {"prompt": "a secret garden"}, **fields}).encode()


async def post(gateway, body: bytes, headers: dict[str, str] | None = None, path: str = PATH):
    return await gateway.nobody.post(path, content=body, headers=signed(body) if headers is None else headers)


def opened(length: int, headers: dict[str, str]) -> str:
    """The beginning of a request whose body is still to come."""
    lines = [f"POST {PATH} HTTP/1.1", "host: gateway", f"content-length: {length}", *map(": ".join, headers.items())]
    return "\r\n".join([*lines, "", ""])


def notes(gateway):
    return [request for request, _ in gateway.jobs.calls["NoteWebhook"]]


@pytest.mark.parametrize(
    ("status", "ended"),
    [("starting", False), ("processing", False), ("odd", False)]
    + [(status, True) for status in ("succeeded", "failed", "canceled", "aborted")],
)
async def test_a_webhook_is_passed_on_as_ids_alone_and_answered_once_it_is_stored(gateway, status, ended):
    body = shown(status=status)
    headers = signed(body, webhook_id="msg_1")
    answer = await post(gateway, body, headers)
    assert (answer.status_code, answer.content) == (204, b"")
    [note] = notes(gateway)
    assert {field.name: value for field, value in note.ListFields()} == {
        "webhook_id": "msg_1",
        "intent_id": INTENT,
        "token": "a-token",
        "prediction_id": "ufawqhfyn",
        **({"ended": True} if ended else {}),
    }


async def test_while_the_secret_changes_both_are_believed(gateway):
    body = shown()
    assert (await post(gateway, body, signed(body, OLD_SECRET))).status_code == 204
    assert (await post(gateway, body, signed(body, SECRET))).status_code == 204


def wrongs():
    body = shown()
    good = signed(body)
    yield "another's secret", body, signed(body, "whsec_" + "A" * 32)
    yield "another body", shown(status="failed"), good
    yield "another id", body, {**good, "webhook-id": "msg_2"}
    yield "another time", body, {**good, "webhook-timestamp": str(int(good["webhook-timestamp"]) + 1)}
    yield "too old", body, signed(body, age=301)
    yield "from the future", body, signed(body, age=-310)
    for name in good:
        yield f"without {name}", body, {key: value for key, value in good.items() if key != name}
    for junk in ("", "v1", "v1,", "v1,?", "v1,a,b", "v2," + good["webhook-signature"][3:], "nothing at all", "v1,é"):
        # A name may not hold what differs from run to run: processes that share the tests have to agree on them.
        yield f"signature {'v2' if junk.startswith('v2') else junk!r}", body, {**good, "webhook-signature": junk.encode()}
    for junk in ("yesterday", "nan", "inf", "-1e999", "99999999999999999999"):
        yield f"time {junk}", body, {**good, "webhook-timestamp": junk}
    yield "no text", b"\xff\xfe", good
    yield "empty", b"", good


@pytest.mark.parametrize("number", [pytest.param(number, id=name) for number, (name, *_) in enumerate(wrongs())])
async def test_what_is_not_signed_in_time_over_its_very_bytes_is_not_believed(gateway, number):
    _, body, headers = list(wrongs())[number]  # signed now: long ago is wrong by itself
    answer = await post(gateway, body, headers)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "webhook_signature_invalid"
    assert not notes(gateway)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
async def test_the_body_of_what_is_not_signed_at_all_is_not_waited_for(gateway, name):
    headers = {key: value for key, value in signed(shown()).items() if key != name}
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(opened(1000, headers).encode())
    assert b" 401 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "body",
    [
        *(b"{", b"[]", b"null", b'"id"', b"{}", b'{"id": "a"}', b'{"id": 1, "status": "succeeded"}', b'{"id": "a", "status": 1}'),
        *(b'{"id": "../account", "status": "succeeded"}', b'{"id": "", "status": "succeeded"}', b"[" * 100_000),
    ],
    ids=lambda body: body[:40].decode(),
)
async def test_a_signed_body_that_shows_no_prediction_is_refused(gateway, body):
    answer = await post(gateway, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_webhook")
    assert not notes(gateway)


@pytest.mark.parametrize("intent", ["x", INTENT.upper(), INTENT + "0", "..", "%00"])
async def test_a_path_that_names_no_intent_is_refused_before_its_body_is_read(gateway, intent):
    answer = await post(gateway, shown(), path=f"/webhooks/replicate/{intent}?token=a")
    assert answer.status_code in (403, 404)
    assert not notes(gateway)


async def test_a_body_of_ten_megabytes_is_taken_and_one_of_twenty_is_not(gateway):
    big = shown(logs="x" * 10_000_000)
    assert (await post(gateway, big)).status_code == 204

    async def too_much():  # with no Content-Length
        for _ in range(20):
            yield b"x" * 1_000_000

    answer = await gateway.nobody.post(PATH, content=too_much(), headers=signed(b""))
    assert answer.status_code == 413
    assert len(notes(gateway)) == 1
    assert (await gateway.http.post("/api/v1/jobs", content=b"x" * 300_000)).status_code == 413, "elsewhere the limit is as it was"


async def test_a_sender_that_stops_in_the_middle_does_not_keep_others_out(gateway, monkeypatch):
    monkeypatch.setattr("gateway.webhooks.BODY_SECONDS", 1.0)
    head = opened(100, signed(shown())) + "half"
    slow = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(20)]
    for _, writer in slow:
        writer.write(head.encode())
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*[reader.read(12) for reader, _ in slow])
    assert set(answers) == {b"HTTP/1.1 408"}
    assert (await post(gateway, shown())).status_code == 204
    for _, writer in slow:
        writer.close()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AppError(grpc.StatusCode.PERMISSION_DENIED, "WEBHOOK_TOKEN_INVALID", "None that was given out."), 403),
        (AppError(grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE", "The database is away.", retry_after_seconds=2), 503),
    ],
)
async def test_what_is_not_stored_is_not_answered_with_success(gateway, error, status):
    gateway.jobs.fail = error
    answer = await post(gateway, shown())
    assert answer.status_code == status
    assert answer.json()["code"] == error.reason.lower()
    assert status != 503 or answer.headers["retry-after"]


async def test_no_log_line_holds_the_token_or_the_prompt(gateway):
    with capture_logs() as lines:
        body = shown()
        for headers in (signed(body), signed(body, age=1000)):
            await post(gateway, body, headers)
        gateway.jobs.fail = AppError(grpc.StatusCode.INTERNAL, "INTERNAL", "broken")
        answer = await post(gateway, body)
    assert answer.status_code == 500
    assert len(lines) > 3
    said = str(lines) + answer.text
    assert "a-token" not in said and "garden" not in said and SECRET not in said


async def test_without_a_secret_there_is_no_such_path(plain_gateway):
    body = shown()
    answer = await plain_gateway.post(PATH, content=body, headers=signed(body))
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await plain_gateway.post(f"/webhooks/replicate/{uuid.uuid4()}", content=b"x" * 300_000)).status_code in (404, 413)
