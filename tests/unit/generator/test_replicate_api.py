"""Requests to Replicate over a real socket: what is sent, how often, and what each kind of silence means."""

import asyncio
import contextlib
import datetime
import email.utils
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from generator import replicate_api as module
from generator.outcomes import Created, Refused, Unknown
from generator.replicate_api import NotFound, ReadFailed, ReplicateApi, replicate_api
from mediagen.jobs.v1.worker_pb2 import REFUSAL_KIND_NOT_SENT

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def replicate(handler: Handler, token: str | None = "r8_token") -> AsyncIterator[tuple[ReplicateApi, list[web.Request]]]:
    """A server that answers everything with `handler`, and an API on it."""
    requests: list[web.Request] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        await request.read()
        requests.append(request)
        return await handler(request)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    async with replicate_api(f"http://{host}:{port}/", token) as api:
        yield api, requests
    await runner.cleanup()


async def test_a_create_sends_the_input_as_the_bytes_that_it_is() -> None:
    async def created(_: web.Request) -> web.Response:
        return web.json_response({"id": "abc"}, status=201)

    text = '{"prompt":"a \\u00e9","seed":18446744073709551616,"scale":1.10,"zero":-0.0}'
    async with replicate(created) as (api, requests):
        outcome = await api.create("owner/name", text, 61.9, 5)
        [request] = requests
        assert isinstance(outcome, Created)
        assert (request.method, request.path) == ("POST", "/v1/predictions")
        assert await request.read() == b'{"version":"owner/name","input":' + text.encode() + b"}"
        assert request.headers["Authorization"] == "Bearer r8_token"
        assert request.headers["Cancel-After"] == "61s"
        assert "Prefer" not in request.headers


async def test_a_create_asks_for_webhooks_of_the_beginning_and_the_end() -> None:
    async def created(_: web.Request) -> web.Response:
        return web.json_response({"id": "abc"}, status=201)

    async with replicate(created) as (api, requests):
        await api.create("owner/name", '{"prompt":"p"}', 61.9, 5, "https://example.com/webhooks/replicate/1?token=t")
        assert await requests[0].json() == {
            "version": "owner/name",
            "input": {"prompt": "p"},
            "webhook": "https://example.com/webhooks/replicate/1?token=t",
            "webhook_events_filter": ["start", "completed"],
        }


async def test_a_create_that_is_not_answered_in_time_is_unknown_and_sent_once() -> None:
    async def silent(_: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.json_response({"id": "late"}, status=201)

    async with replicate(silent) as (api, requests):
        assert isinstance(await api.create("o/n", "{}", 60, 0.2), Unknown)
        assert len(requests) == 1


async def test_a_create_whose_connection_breaks_is_unknown_and_sent_once() -> None:
    async def broken(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with replicate(broken) as (api, requests):
        assert isinstance(await api.create("o/n", "{}", 60, 2), Unknown)
        await asyncio.sleep(0.1)
        assert len(requests) == 1


async def test_a_create_is_not_redirected() -> None:
    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with replicate(redirect) as (api, requests):
        outcome = await api.create("o/n", "{}", 60, 2)
        assert isinstance(outcome, Refused)
        assert (outcome.error_code, len(requests)) == ("provider_redirected", 1)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no-such-host.invalid", "https://127.0.0.1:1"])
async def test_a_create_that_reaches_nobody_was_not_sent(url: str) -> None:
    async with replicate_api(url, None) as api:
        outcome = await api.create("o/n", "{}", 60, 2)
        assert isinstance(outcome, Refused)
        assert (outcome.kind, outcome.http_status) == (REFUSAL_KIND_NOT_SENT, 0)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, b"{}", NotFound),
        (500, b"<html>", ReadFailed),
        (200, b"<html>", ReadFailed),
        (200, b"[]", ReadFailed),
        (200, b'{"id":"a"}', ReadFailed),
        (429, b'{"retry_after":5}', ReadFailed),
        (302, b"", ReadFailed),
    ],
)
async def test_a_read_that_gives_no_prediction_says_so(status: int, body: bytes, error: type[Exception]) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers={"Location": "http://evil/"} if status == 302 else {})

    async with replicate(answer) as (api, _):
        with pytest.raises(error) as raised:
            await api.get("abc")
        if status == 429:
            assert isinstance(raised.value, ReadFailed)
            assert raised.value.retry_after_seconds == 5


async def test_an_answer_that_is_too_large_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BODY_BYTES", 1000)

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"status": "processing", "logs": "x" * 2000})

    async with replicate(answer) as (api, _):
        with pytest.raises(ReadFailed, match="1000 bytes"):
            await api.get("abc")


async def test_the_next_page_is_asked_of_the_same_server_whatever_its_link_says() -> None:
    async def page(request: web.Request) -> web.Response:
        following = None if "cursor" in request.query else "https://evil.example/v1/predictions?cursor=b%3D2"
        return web.json_response({"next": following, "results": [{"id": "a", "status": "starting"}]})

    async with replicate(page) as (api, requests):
        first = await api.page(created_before="2026-01-01T00:00:00.000001Z")
        assert first.date is not None
        assert first.cursor == "b=2"
        second = await api.page(cursor=first.cursor)
        assert second.cursor is None
        assert [dict(request.query) for request in requests] == [
            {"created_before": "2026-01-01T00:00:00.000001Z"},
            {"cursor": "b=2"},
        ]


@pytest.mark.parametrize("body", [{}, {"results": [7]}, {"results": [{"id": 1}]}, {"results": [], "next": 7}])
async def test_a_list_that_cannot_be_understood_is_no_list(body: object) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.json_response(body)

    async with replicate(page) as (api, _):
        with pytest.raises(ReadFailed):
            await api.page()


@pytest.mark.parametrize(("status", "answers"), [(200, True), (401, False), (403, False), (500, False)])
async def test_the_account_answers_or_does_not(status: int, answers: bool) -> None:
    async def account(_: web.Request) -> web.Response:
        return web.json_response({"username": "us"}, status=status)

    async with replicate(account) as (api, _):
        assert await api.account_answers() is answers


async def test_time_is_told_by_replicates_clock_and_not_by_this_machines() -> None:
    an_hour_ahead = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)

    async def answer(_: web.Request) -> web.Response:
        date = email.utils.format_datetime(an_hour_ahead, usegmt=True)
        return web.json_response({"status": "processing"}, headers={"Date": date})

    async with replicate(answer) as (api, _):
        assert abs(api.now() - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(seconds=5)
        await api.get("abc")
        assert abs(api.now() - an_hour_ahead) < datetime.timedelta(seconds=5)
