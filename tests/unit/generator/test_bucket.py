"""Whether the bucket takes writes, as a generator learns it."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from generator import bucket as module
from generator.bucket import Bucket, open_bucket
from generator_doubles import until


class S3:
    """As much of an S3 server as a probe asks, which may refuse."""

    def __init__(self) -> None:
        self.refuses = False
        self.writes: list[str] = []
        self.sizes: dict[str, int] = {}

    async def handle(self, request: web.Request) -> web.Response:
        if self.refuses:
            return web.Response(status=503)
        if request.method == "PUT":
            self.writes.append(request.path)
            self.sizes[request.path] = len(await request.read())
        headers = {"ETag": '"etag"', "Last-Modified": "Thu, 01 Jan 2026 12:00:00 GMT"}
        return web.Response(headers={**headers, "Content-Length": str(self.sizes.get(request.path, 0))})


class Watched:
    """A bucket that is watched, on that server."""

    def __init__(self, s3: S3, bucket: Bucket) -> None:
        self.s3 = s3
        self.bucket = bucket


@pytest.fixture
async def at(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    monkeypatch.setattr(module, "PROOF_SECONDS", 0.2)
    s3 = S3()
    runner = web.ServerRunner(web.Server(s3.handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with open_bucket(f"http://127.0.0.1:{runner.addresses[0][1]}", "key", "secret", "media", "us-east-1") as bucket:
        watching = asyncio.create_task(bucket.watch())
        await until(bucket.usable.is_set)
        yield Watched(s3, bucket)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    await runner.cleanup()


async def test_a_bucket_that_goes_away_while_nothing_is_stored_is_noticed_and_so_is_its_return(at: Watched) -> None:
    at.s3.refuses = True
    await until(lambda: not at.bucket.usable.is_set())
    at.s3.refuses = False
    await until(at.bucket.usable.is_set)


async def test_while_outputs_are_stored_nothing_is_probed(at: Watched) -> None:
    at.s3.writes.clear()
    began = time.monotonic()
    while time.monotonic() - began < 0.6:
        await at.bucket.put("out/job", b"words", 5, "text/plain")
        await asyncio.sleep(0.02)
    assert set(at.s3.writes) == {"/media/out/job"}
    await until(lambda: "/media/probe/generator" in at.s3.writes)


async def test_a_refused_output_is_followed_by_a_probe_at_once(at: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROOF_SECONDS", 60.0)
    await asyncio.sleep(0.5)  # the probe after which the proof lasts
    at.s3.writes.clear()
    at.bucket.failed()
    assert not at.bucket.usable.is_set()
    await until(at.bucket.usable.is_set, seconds=1)
    assert at.s3.writes == ["/media/probe/generator"]
