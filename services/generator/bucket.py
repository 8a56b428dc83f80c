"""The bucket that outputs are stored in. `minio` signs and makes it; everything else goes through aiohttp to signed URLs.

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
from typing import Any

import aiohttp
import structlog
import urllib3
from minio import Minio
from yarl import URL

from chassis.failpoints import failpoint
from chassis.http_metrics import object_store
from chassis.server_time import ServerTime
from generator.metrics import bucket_up

log = structlog.get_logger()

ANSWER_SECONDS = 20.0
"""How long the bucket may take to answer once it has every byte."""

PROBE_SECONDS = 5.0
"""How long it may take to answer a question without a body, or with a small one."""

SLOWEST_BYTES_PER_SECOND = 256 * 1024
"""An upload that is slower than this has failed."""

PROBE_KEY = "probe/generator"
"""A small object that is written to learn whether writes work."""

PROOF_SECONDS = 3.0
"""How long a write that succeeded proves that the bucket takes writes."""

LONGEST_DELAY_SECONDS = 10.0
"""The longest pause between two probes of a bucket that refuses, before jitter."""

LINK_LIFE = datetime.timedelta(hours=1)
"""How long a request may be under way before its signature is too old."""

CLOCK_OFF_SECONDS = 60.0
"""Clocks that differ by more than this are worth a line in the log. S3 servers refuse what was signed 15 minutes off."""


class StorageFailed(Exception):
    """The bucket did not take an object, or has another one than was sent. It may take it later."""


class _NoSuchBucket(StorageFailed):
    """There is no bucket of that name."""


class Bucket:
    """One bucket on one S3 server."""

    def __init__(self, minio: Minio, name: str, region: str, session: aiohttp.ClientSession) -> None:
        """`session` is for this server alone."""
        self._minio = minio
        self._name = name
        self._region = region
        self._session = session
        self._clock = ServerTime()
        object_store.expect("PUT", "200")
        object_store.expect("HEAD", "200")
        self._failed = asyncio.Event()
        self._proven_at = -float("inf")
        self.usable = asyncio.Event()
        """Set while the bucket takes writes, as far as is known. It has to be proven once after the start."""
        self.on_failed: Callable[[], None] = lambda: None
        """Called whenever it takes none any more."""

    async def put(self, key: str, body: AsyncIterator[bytes] | bytes, size: int, content_type: str) -> None:
        """Stores `size` bytes under `key` and checks that the bucket has them; raises StorageFailed."""
        try:
            await self._put(key, body, size, content_type)
            failpoint("generator.output.sent")
            await self._check(key, size)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise StorageFailed(f"{type(error).__name__} at the bucket") from error

    def failed(self) -> None:
        """An object was refused: no creates until a probe succeeds."""
        self.usable.clear()
        bucket_up.set(0)
        self._failed.set()
        self.on_failed()

    async def watch(self) -> None:
        """Makes the bucket where it is missing, and probes it whenever it is in doubt, until it takes writes. Runs for ever."""
        while True:
            delay = 0.5
            while (problem := await self._probe()) is not None:
                self.failed()
                log.warning("bucket.refuses", bucket=self._name, error=problem, retry_in=round(delay, 1))
                await asyncio.sleep(delay * random.uniform(0.7, 1.3))  # noqa: S311  jitter, no secret
                delay = min(delay * 2, LONGEST_DELAY_SECONDS)
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
            try:
                await self._put(PROBE_KEY, b"ok", 2, "text/plain", PROBE_SECONDS)
            except _NoSuchBucket:
                await asyncio.to_thread(self._minio.make_bucket, bucket_name=self._name, location=self._region)
                await self._put(PROBE_KEY, b"ok", 2, "text/plain", PROBE_SECONDS)
            await self._check(PROBE_KEY, 2)
        except Exception as error:  # whatever this server does, it is no bucket that takes writes
            return f"{type(error).__name__}: {error}"[:300]
        return None

    async def _put(
        self, key: str, body: AsyncIterator[bytes] | bytes, size: int, content_type: str, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        headers = {"Content-Length": str(size), "Content-Type": content_type}
        longest = answer_seconds + size / SLOWEST_BYTES_PER_SECOND
        async with self._asked("PUT", key, longest, data=body, headers=headers):
            pass

    async def _check(self, key: str, size: int) -> None:
        async with self._asked("HEAD", key, PROBE_SECONDS) as response:
            stored = response.content_length
        if stored != size:
            raise StorageFailed(f"{stored} bytes are stored of {size}")
        self._proven_at = time.monotonic()

    @contextlib.asynccontextmanager
    async def _asked(self, method: str, key: str, seconds: float, **request: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """The good answer to a request, which is signed by the server's own clock; raises StorageFailed where it is none."""
        url = self._minio.get_presigned_url(
            method=method, bucket_name=self._name, object_name=key, expires=LINK_LIFE, request_date=self._clock.now()
        )
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=3, sock_read=ANSWER_SECONDS)
        sent = self._session.request(method, URL(url, encoded=True), timeout=timeout, allow_redirects=False, **request)
        with object_store.measured(method) as statuses:
            response = await sent
            statuses.append(response.status)
        async with response:
            off = self._clock.learn(response.headers.get("Date")).total_seconds()
            if abs(off) > CLOCK_OFF_SECONDS:
                log.warning("bucket.clock", seconds_off=round(off), signs_by="the server's clock from now on")
            if response.status != 200:
                found = re.search(rb"<Code>(\w+)</Code>", await response.content.read(4096))
                code = found[1].decode() if found else ""
                error = _NoSuchBucket if code == "NoSuchBucket" else StorageFailed
                raise error(f"HTTP {response.status} {code} at the bucket")
            yield response


@contextlib.asynccontextmanager
async def open_bucket(endpoint: str, access_key: str, secret_key: str, name: str, region: str) -> AsyncIterator[Bucket]:
    """The bucket while the context lasts. Nothing is asked of the server yet."""
    url = URL(endpoint)
    pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=3, read=5), retries=urllib3.Retry(0))
    minio = Minio(
        endpoint=f"{url.host}:{url.port}", access_key=access_key, secret_key=secret_key, secure=url.scheme == "https",
        region=region, http_client=pool,
    )  # fmt: skip
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Bucket(minio, name, region, session)
    pool.clear()
