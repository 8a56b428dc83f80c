"""One output on its way: what comes out of a source, and which side is to blame where it breaks."""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from generator.bucket import StorageFailed
from generator.hosts import AllowedHosts, HostPattern
from generator.outputs import Linked, UnusableOutput
from generator.storing import Storing, StoringFailed
from generator.transfer import SourceFailed, Transfers, download_session

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4096
MAX_BYTES = 2 * len(PICTURE)


class Bucket:
    """A bucket in memory, which may refuse."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.refusing = 0
        self.failures = 0
        self.usable = asyncio.Event()
        self.usable.set()

    async def put(self, key: str, body: AsyncIterator[bytes], size: int, content_type: str) -> None:
        if self.refusing:
            self.refusing -= 1
            raise StorageFailed("HTTP 507 at the bucket")
        try:
            content = b"".join([chunk async for chunk in body])
        except Exception as error:  # as aiohttp does with what its body raises
            raise StorageFailed("ClientConnectionError at the bucket") from error
        assert len(content) == size
        self.objects[key] = content

    def failed(self) -> None:
        self.failures += 1


class Source:
    """A file server on this machine, the transfers that may use it, and what it was asked."""

    def __init__(self, url: str, transfers: Transfers, bucket: Bucket, requests: list[web.Request]) -> None:
        self.url = url
        self.transfers = transfers
        self.bucket = bucket
        self.requests = requests


@contextlib.asynccontextmanager
async def source(handler: Handler) -> AsyncIterator[Source]:
    requests: list[web.Request] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        requests.append(request)
        return await handler(request)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    allowed, bucket = AllowedHosts([HostPattern(host, port), HostPattern("*.suffix.test", port)]), Bucket()
    async with download_session(allowed) as session:
        stand_in: Any = bucket
        yield Source(f"http://{host}:{port}", Transfers(session, allowed, stand_in, MAX_BYTES, "r8_token"), bucket, requests)
    await runner.cleanup()


async def whole(_: web.Request) -> web.Response:
    return web.Response(body=PICTURE, content_type="text/html")


async def test_what_is_stored_is_what_was_sent_whatever_the_source_calls_it() -> None:
    async with source(whole) as at:
        stored = await at.transfers.fetch(f"{at.url}/out.svg", "out/job/1/0", 0)
        assert at.bucket.objects == {"out/job/1/0.png": PICTURE}
        assert (stored.object_key, stored.content_type, stored.size) == ("out/job/1/0.png", "image/png", len(PICTURE))
        assert stored.sha256 == hashlib.sha256(PICTURE).hexdigest()
        assert "Authorization" not in at.requests[0].headers


async def test_a_source_without_a_length_is_spooled_and_stored_whole() -> None:
    async def chunked(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for start in range(0, len(PICTURE), 10_000):
            await response.write(PICTURE[start : start + 10_000])
        return response

    async with source(chunked) as at:
        stored = await at.transfers.fetch(at.url, "key", 0)
        assert at.bucket.objects == {"key.png": PICTURE}
        assert stored.sha256 == hashlib.sha256(PICTURE).hexdigest()


async def test_the_token_is_kept_from_hosts_that_ask_for_it() -> None:
    async def unauthorized(_: web.Request) -> web.Response:
        return web.Response(status=401)

    async with source(unauthorized) as at:
        with pytest.raises(SourceFailed):
            await at.transfers.fetch(at.url, "key", 0)
        assert [request.headers.get("Authorization") for request in at.requests] == [None]


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest",
        "http://127.0.0.1:1/",
        "https://127.0.0.1/",
        "file:///etc/passwd",
        "http://[bad",
        "//evil.test/",
    ],
)
async def test_a_redirect_out_of_the_list_is_not_followed(location: str) -> None:
    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": location})

    async with source(redirect) as at:
        with pytest.raises(UnusableOutput) as refused:
            await at.transfers.fetch(at.url, "key", 0)
        assert refused.value.code == "output_forbidden_address"
        assert len(at.requests) == 1


async def test_a_few_redirects_are_followed_and_a_circle_is_not() -> None:
    async def redirect(request: web.Request) -> web.Response:
        left = int(request.path.removeprefix("/"))
        return web.Response(status=307, headers={"Location": f"/{left - 1}"}) if left else await whole(request)

    async with source(redirect) as at:
        await at.transfers.fetch(f"{at.url}/3", "key", 0)
        with pytest.raises(UnusableOutput, match="redirects"):
            await at.transfers.fetch(f"{at.url}/100", "key", 0)


async def test_a_listed_suffix_that_resolves_to_this_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: Any, **__: Any) -> Any:
        return [{"hostname": "x", "host": "127.0.0.1", "port": 80, "family": 2, "proto": 0, "flags": 0}]

    monkeypatch.setattr("aiohttp.ThreadedResolver.resolve", resolve)
    async with source(whole) as at:
        port = at.url.rpartition(":")[2]
        with pytest.raises(UnusableOutput) as refused:
            await at.transfers.fetch(f"http://rebound.suffix.test:{port}/", "key", 0)
        assert refused.value.code == "output_forbidden_address"
        assert at.requests == []


async def test_too_much_is_refused_before_or_while_it_comes() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for _ in range(10):
            await response.write(PICTURE)
        return response

    async def announced(_: web.Request) -> web.Response:
        return web.Response(body=PICTURE * 3)

    for handler in (endless, announced):
        async with source(handler) as at:
            with pytest.raises(UnusableOutput) as refused:
                await at.transfers.fetch(at.url, "key", 0)
            assert refused.value.code == "output_too_large"
            assert at.bucket.objects == {}


def broken_after(sent: int) -> Handler:
    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(PICTURE))})
        await response.prepare(request)
        await response.write(PICTURE[:sent])
        assert request.transport is not None
        await asyncio.sleep(0.05)
        request.transport.abort()
        return response

    return broken


@pytest.mark.parametrize("sent", [0, 4, 1000, len(PICTURE) // 2])
async def test_a_source_that_breaks_off_is_to_blame_and_not_the_bucket(sent: int) -> None:
    async with source(broken_after(sent)) as at:
        with pytest.raises(SourceFailed) as failed:
            await at.transfers.fetch(at.url, "key", 0)
        assert failed.value.code == "output_truncated"
        assert at.bucket.objects == {}


@pytest.mark.parametrize(("status", "code"), [(404, "output_expired"), (410, "output_expired"), (503, "output_unavailable")])
async def test_a_source_that_answers_with_an_error_may_do_better_later(status: int, code: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async with source(answer) as at:
        with pytest.raises(SourceFailed) as failed:
            await at.transfers.fetch(at.url, "key", 0)
        assert failed.value.code == code


async def test_a_bucket_that_refuses_is_asked_again_and_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generator.storing.STORAGE_DELAYS", (0.01,))
    async with source(whole) as at:
        stand_in: Any = at.bucket
        at.bucket.refusing = 3
        [stored] = await Storing(at.transfers, stand_in).store([Linked(at.url)], "out/job/1", time.monotonic() + 60)
        assert (stored.object_key, at.bucket.failures, len(at.requests)) == ("out/job/1/0.png", 3, 4)


async def test_a_bucket_that_refuses_for_as_long_as_the_output_lives_makes_it_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generator.storing.STORAGE_DELAYS", (0.02,))
    async with source(whole) as at:
        stand_in: Any = at.bucket
        at.bucket.refusing = 10_000
        with pytest.raises(StoringFailed) as failed:
            await Storing(at.transfers, stand_in).store([Linked(at.url)], "out/job/1", time.monotonic() + 0.2)
        assert failed.value.code == "output_expired"


async def test_what_could_be_stored_is_kept_where_another_output_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    async def half(request: web.Request) -> web.Response:
        return web.Response(text="<html>") if request.path == "/1" else await whole(request)

    async with source(half) as at:
        stand_in: Any = at.bucket
        sources = [Linked(f"{at.url}/{number}") for number in range(3)]
        with pytest.raises(StoringFailed) as failed:
            await Storing(at.transfers, stand_in).store(sources, "out/job/1", time.monotonic() + 60)
        assert failed.value.code == "output_not_media"
        assert [stored.index for stored in failed.value.stored] == [0, 2]
