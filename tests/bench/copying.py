"""One way of copying media from a provider to S3, in a process of its own: `python -m bench.copying`, with a Copying as JSON on
standard input.

`mediagen` is the generator's own path: sniffed, capped, hashed and checked while it streams. `bare` is aiohttp from URL to URL.
"""

import asyncio
import datetime
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import psutil
import uvloop
from minio import Minio
from yarl import URL

from generator.bucket import open_bucket
from generator.hosts import AllowedHosts, HostPattern
from generator.transfer import Transfers, download_session


@dataclass(frozen=True)
class Copying:
    """What to copy, how, and for how long."""

    way: str
    """mediagen or bare."""
    source_port: int
    """Where every path is the same file."""
    size: int
    """Of the file, in bytes."""
    endpoint: str
    access_key: str
    secret_key: str
    bucket: str
    region: str
    at_once: int = 16
    seconds: float = 5.0


Copy = Callable[[str, str], Awaitable[object]]
"""Copies what is behind a URL to a key."""


@asynccontextmanager
async def mediagen(copying: Copying) -> AsyncIterator[Copy]:
    """The generator's own."""
    allowed = AllowedHosts([HostPattern("127.0.0.1", copying.source_port)])
    s3 = (copying.endpoint, copying.access_key, copying.secret_key, copying.bucket, copying.region)
    async with download_session(allowed) as downloads, open_bucket(*s3) as bucket:
        transfers = Transfers(downloads, allowed, bucket, 1024**3, None)
        yield lambda url, key: transfers.fetch(url, key, 0)


@asynccontextmanager
async def bare(copying: Copying) -> AsyncIterator[Copy]:
    """One GET that is the body of one PUT."""
    minio = Minio(
        endpoint=copying.endpoint.removeprefix("http://"),
        access_key=copying.access_key,
        secret_key=copying.secret_key,
        secure=False,
        region=copying.region,
    )
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False) as session:

        async def copy(url: str, key: str) -> None:
            target = minio.get_presigned_url(
                method="PUT", bucket_name=copying.bucket, object_name=key, expires=datetime.timedelta(hours=1)
            )
            async with session.get(url) as source:
                headers = {"Content-Length": str(source.content_length), "Content-Type": "video/mp4"}
                body = source.content.iter_chunked(64 * 1024)
                async with session.put(URL(target, encoded=True), data=body, headers=headers) as stored:
                    assert stored.status == 200, await stored.text()

        yield copy


async def run(copying: Copying) -> dict[str, float]:
    """Copies while time lasts; a first copy of each place warms up."""
    process = psutil.Process()
    copies, peak = 0, 0.0

    async def place(number: int, until: float) -> None:
        nonlocal copies, peak
        while True:
            await copy(f"http://127.0.0.1:{copying.source_port}/{number}.mp4", f"out/{number}")
            copies += 1
            peak = max(peak, process.memory_info().rss)
            if time.perf_counter() >= until:
                return

    async with {"mediagen": mediagen, "bare": bare}[copying.way](copying) as copy:
        await place(0, 0.0)
        copies, idle = 0, process.memory_info().rss
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*[place(number, began + copying.seconds) for number in range(copying.at_once)])
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    size = copies * copying.size
    return {
        "mb_per_second": size / 1e6 / seconds,
        "cpu_per_gb": cpu / (size / 1e9),
        "mib_each": (peak - idle) / 2**20 / copying.at_once,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(Copying(**json.loads(sys.stdin.readline()))))))
