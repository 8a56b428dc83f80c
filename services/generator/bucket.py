"""The bucket that outputs are stored in. `minio` signs, stats and makes it; bodies stream through aiohttp to signed URLs.

While the bucket refuses writes nothing paid is begun: `usable` is cleared, claims ask for no creates, and a probe brings it back.
An idle generator probes it too, so that it learns of a bucket that went away before it pays for something to put there.
"""

import asyncio
import contextlib
import datetime
import random
import re
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import aiohttp
import structlog
import urllib3
from minio import Minio
from minio.error import MinioException
from yarl import URL

from generator.metrics import bucket_up

log = structlog.get_logger()

Value = TypeVar("Value")

THREADS = 4
"""Threads for what blocks in `minio`: sizes of objects, and the bucket's making."""

ANSWER_SECONDS = 30.0
"""How long the bucket may take to answer once it has every byte."""

SLOWEST_BYTES_PER_SECOND = 256 * 1024
"""An upload that is slower than this has failed."""

PROBE_KEY = "probe/generator"
"""A small object that is written to learn whether writes work."""

PROOF_SECONDS = 3.0
"""How long a write that succeeded proves that the bucket takes writes."""


class StorageFailed(Exception):
    """The bucket did not take an object, or has another one than was sent. It may take it later."""


class Bucket:
    """One bucket on one S3 server."""

    def __init__(self, minio: Minio, name: str, region: str, session: aiohttp.ClientSession, threads: ThreadPoolExecutor) -> None:
        """`session` is for uploads alone; `threads` for `minio`."""
        self._minio = minio
        self._name = name
        self._region = region
        self._session = session
        self._threads = threads
        self._failed = asyncio.Event()
        self._proven_at = -float("inf")
        self.usable = asyncio.Event()
        """Set while the bucket takes writes, as far as is known. It has to be proven once after the start."""

    async def put(self, key: str, body: AsyncIterator[bytes] | bytes, size: int, content_type: str) -> None:
        """Stores `size` bytes under `key` and checks that the bucket has them; raises StorageFailed."""
        try:
            await self._put(key, body, size, content_type)
            stored = await self._blocking(lambda: self._minio.stat_object(bucket_name=self._name, object_name=key).size)
        except (aiohttp.ClientError, TimeoutError, OSError, MinioException, urllib3.exceptions.HTTPError) as error:
            raise StorageFailed(f"{type(error).__name__} at the bucket") from error
        if stored != size:
            raise StorageFailed(f"{stored} bytes are stored of {size}")
        self._proven_at = time.monotonic()

    def failed(self) -> None:
        """An object was refused: no creates until a probe succeeds."""
        self.usable.clear()
        bucket_up.set(0)
        self._failed.set()

    async def watch(self) -> None:
        """Makes the bucket where it is missing, and probes it whenever it is in doubt, until it takes writes. Runs for ever."""
        while True:
            delay = 0.5
            while (problem := await self._probe()) is not None:
                self.failed()
                log.warning("bucket.refuses", bucket=self._name, error=problem, retry_in=round(delay, 1))
                await asyncio.sleep(delay * random.uniform(0.7, 1.3))  # noqa: S311  jitter, no secret
                delay = min(delay * 2, 30)
            if not self.usable.is_set():
                log.info("bucket.usable", bucket=self._name)
            bucket_up.set(1)
            self.usable.set()
            await self._doubt()

    async def _doubt(self) -> None:
        """Waits until an object was refused, or none was stored for a while."""
        while (proven := self._proven_at + PROOF_SECONDS - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._failed.wait(), proven)
                return

    async def _probe(self) -> str | None:
        """None where a write works, otherwise what went wrong."""
        self._failed.clear()
        try:
            if not await self._blocking(lambda: self._minio.bucket_exists(bucket_name=self._name)):
                await self._blocking(lambda: self._minio.make_bucket(bucket_name=self._name, location=self._region))
            await self.put(PROBE_KEY, b"ok", 2, "text/plain")
        except Exception as error:  # whatever this server does, it is no bucket that takes writes
            return f"{type(error).__name__}: {error}"[:300]
        return None

    async def _put(self, key: str, body: AsyncIterator[bytes] | bytes, size: int, content_type: str) -> None:
        url = self._minio.get_presigned_url(
            method="PUT", bucket_name=self._name, object_name=key, expires=datetime.timedelta(hours=1)
        )
        headers = {"Content-Length": str(size), "Content-Type": content_type}
        longest = ANSWER_SECONDS + size / SLOWEST_BYTES_PER_SECOND
        timeout = aiohttp.ClientTimeout(total=longest, sock_connect=3, sock_read=ANSWER_SECONDS)
        async with self._session.put(
            URL(url, encoded=True), data=body, headers=headers, timeout=timeout, allow_redirects=False
        ) as response:
            if response.status != 200:
                code = re.search(rb"<Code>(\w+)</Code>", await response.content.read(4096))
                raise StorageFailed(f"HTTP {response.status} {code[1].decode() if code else ''} at the bucket")

    async def _blocking(self, call: Callable[[], Value]) -> Value:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


@contextlib.asynccontextmanager
async def open_bucket(endpoint: str, access_key: str, secret_key: str, name: str, region: str) -> AsyncIterator[Bucket]:
    """The bucket while the context lasts. Nothing is asked of the server yet."""
    url = URL(endpoint)
    pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=3, read=5), retries=urllib3.Retry(0), maxsize=THREADS)
    minio = Minio(
        endpoint=f"{url.host}:{url.port}", access_key=access_key, secret_key=secret_key, secure=url.scheme == "https",
        region=region, http_client=pool,
    )  # fmt: skip
    with ThreadPoolExecutor(THREADS, thread_name_prefix="minio") as threads:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            yield Bucket(minio, name, region, session, threads)
    pool.clear()
