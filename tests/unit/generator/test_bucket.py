"""Whether the bucket takes writes, as a generator learns it."""

import asyncio
import datetime
import email.utils
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from generator import bucket as module
from generator.bucket import Bucket, StorageFailed, open_bucket
from waiting import until


class S3:
    """As much of an S3 server as a probe asks, which may refuse."""

    def __init__(self) -> None:
        self.refuses = False
        self.ahead = datetime.timedelta()
        """How far its clock is ahead of ours. It refuses what was signed 15 minutes before or after its own time."""
        self.writes: list[str] = []
        self.sizes: dict[str, int] = {}
        self.loses = 0
        """How many bytes of each object it does not keep."""

    async def handle(self, request: web.Request) -> web.Response:
        now = datetime.datetime.now(datetime.UTC) + self.ahead
        date = {"Date": email.utils.format_datetime(now, usegmt=True)}
        signed = datetime.datetime.strptime(request.query["X-Amz-Date"], "%Y%m%dT%H%M%S%z")
        if self.refuses:
            return web.Response(status=503)
        if abs(now - signed) > datetime.timedelta(minutes=15):
            return web.Response(status=403, text="<Error><Code>RequestTimeTooSkewed</Code></Error>", headers=date)
        if request.method == "PUT":
            self.writes.append(request.path)
            self.sizes[request.path] = len(await request.read()) - self.loses
        return web.Response(headers={**date, "Content-Length": str(self.sizes.get(request.path, 0))})


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


async def test_an_object_of_which_the_bucket_has_another_size_is_not_stored(at: Watched) -> None:
    at.s3.loses = 1
    with pytest.raises(StorageFailed, match="4 bytes are stored of 5"):
        await at.bucket.put("out/job", b"words", 5, "text/plain")


async def test_a_refused_output_is_followed_by_a_probe_at_once(at: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROOF_SECONDS", 60.0)
    await until(lambda: time.monotonic() - at.bucket._proven_at > 0.4, what="the proof of the last probe to last")
    at.s3.writes.clear()
    at.bucket.failed()
    assert not at.bucket.usable.is_set()
    await until(at.bucket.usable.is_set, seconds=1)
    assert at.s3.writes == ["/media/probe/generator"]


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_bucket_whose_clock_is_an_hour_from_ours_gets_signatures_by_its_own(at: Watched, hours: int) -> None:
    at.s3.ahead = datetime.timedelta(hours=hours)
    await until(lambda: not at.bucket.usable.is_set())  # of what was learned before it was off
    await until(at.bucket.usable.is_set)
    at.s3.writes.clear()
    await at.bucket.put("out/job", b"words", 5, "text/plain")
    assert at.s3.writes == ["/media/out/job"]
