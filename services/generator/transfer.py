"""One output from where it lies into the bucket, in one pass: sniffed, capped, hashed and counted while it streams."""

import asyncio
import hashlib
import re
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO

import aiohttp
from opentelemetry.trace import SpanKind
from yarl import URL

from chassis import tracing
from chassis.failpoints import failpoint
from generator.bucket import Bucket, StorageFailed
from generator.hosts import MAX_REDIRECTS, AllowedHosts, ForbiddenAddress, GuardedResolver
from generator.media import PREFIX_BYTES, NotMedia, dimensions, sniff
from generator.metrics import outputs_stored, upload_seconds, uploaded_bytes
from generator.outputs import UnusableOutput
from mediagen.jobs.v1.worker_pb2 import StoredOutput

CHUNK_BYTES = 64 * 1024

SILENCE_SECONDS = 20
"""How long a source may send nothing."""

_TOKEN_HOST = re.compile(r"api\.replicate\.com|.+\.replicate\.delivery")
"""The only hosts that may see the token, and only where they ask for it."""


class SourceFailed(Exception):
    """The source broke off or did not answer as it should; it may do better next time."""

    def __init__(self, code: str, message: str) -> None:
        """`code` is the job's error_code if it never does."""
        super().__init__(message)
        self.code = code


@asynccontextmanager
async def download_session(allowed: AllowedHosts) -> AsyncIterator[aiohttp.ClientSession]:
    """A session for downloads, without token or cookies; names resolve by `allowed`. Files are large: only silence is limited."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, resolver=GuardedResolver(allowed, aiohttp.ThreadedResolver())),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=SILENCE_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    ) as session:
        yield session


class Transfers:
    """Downloads and uploads of this generator."""

    def __init__(
        self, session: aiohttp.ClientSession, allowed: AllowedHosts, bucket: Bucket, max_bytes: int, token: str | None
    ) -> None:
        """`session` carries no token and resolves names by `allowed`; `max_bytes` is the largest output."""
        self._session = session
        self._allowed = allowed
        self._bucket = bucket
        self._max_bytes = max_bytes
        self._token = token

    async def fetch(self, url: str, key: str, index: int) -> StoredOutput:
        """Copies what lies behind `url` to `key` and its extension.

        Raises UnusableOutput where it can never be stored, SourceFailed or StorageFailed where another try may work.
        """
        try:
            # Around the upload, too: it is one pass.
            with tracing.span("download output", SpanKind.CLIENT, {"mediagen.index": index}):
                async with self._open(url) as response:
                    source = _Source(response.content.iter_chunked(CHUNK_BYTES))
                    return await self._store(source, response.content_length, key, index)
        except ForbiddenAddress as error:
            raise UnusableOutput("output_forbidden_address", str(error)) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SourceFailed("output_unavailable", f"{type(error).__name__} at the source of the output") from error

    async def keep(self, content: bytes, key: str, index: int) -> StoredOutput:
        """Stores bytes that came inside the output itself; raises as `fetch`."""

        async def once() -> AsyncIterator[bytes]:
            yield content

        return await self._store(_Source(once()), len(content), key, index)

    @asynccontextmanager
    async def _open(self, url: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response behind `url`, after redirects that were checked one by one."""
        current, token = _url(url), False
        for _ in range(MAX_REDIRECTS + 2):  # the first one, the redirects, and one more with the token
            self._allowed.check(current)
            headers = {"Accept-Encoding": "identity", **({"Authorization": f"Bearer {self._token}"} if token else {})}
            async with self._session.get(current, headers=headers, allow_redirects=False) as response:
                if response.status in (301, 302, 303, 307, 308) and "Location" in response.headers:
                    current, token = current.join(_url(response.headers["Location"])), False
                elif response.status in (401, 403) and not token and self._may_see_token(current):
                    token = True
                elif response.status in (404, 410):
                    raise SourceFailed("output_expired", f"the output is gone: HTTP {response.status} at {current.host}")
                elif response.status != 200:
                    raise SourceFailed("output_unavailable", f"HTTP {response.status} at the source of the output, {current.host}")
                else:
                    yield response
                    return
        raise UnusableOutput("output_forbidden_address", f"the output is behind more than {MAX_REDIRECTS} redirects")

    def _may_see_token(self, url: URL) -> bool:
        return self._token is not None and url.scheme == "https" and _TOKEN_HOST.fullmatch(url.host or "") is not None

    async def _store(self, source: "_Source", size: int | None, key: str, index: int) -> StoredOutput:
        if size is not None and size > self._max_bytes:
            raise UnusableOutput("output_too_large", f"the output has {size} bytes; at most {self._max_bytes} are stored")
        began = time.perf_counter()
        prefix = await source.peek(PREFIX_BYTES)
        try:
            media = sniff(prefix)
        except NotMedia as error:
            if len(prefix) < (size or 0) and len(prefix) < PREFIX_BYTES:
                raise SourceFailed("output_truncated", "the output broke off") from None
            raise UnusableOutput("output_not_media", f"The output was refused: {error}.") from None
        key = f"{key}.{media.extension}"
        if size is None:
            with tempfile.TemporaryFile() as spool:
                size = await _spool(source.checked(None, self._max_bytes), spool)
                await self._put(key, _unspool(spool), size, media.content_type, source)
        else:
            await self._put(key, source.checked(size, self._max_bytes), size, media.content_type, source)
        kind = media.content_type.partition("/")[0]
        outputs_stored.labels(kind if kind in ("image", "video", "audio") else "other").inc()
        uploaded_bytes.inc(size)
        upload_seconds.observe(time.perf_counter() - began)
        stored = StoredOutput(
            index=index, content_type=media.content_type, size=size, sha256=source.sha256.hexdigest(), object_key=key
        )
        if pixels := dimensions(prefix, media):
            stored.width, stored.height = pixels
        return stored

    async def _put(self, key: str, body: AsyncIterator[bytes], size: int, content_type: str, source: "_Source") -> None:
        """Uploads, and tells a source that broke off from a bucket that refused."""
        about: tracing.Attributes = {"mediagen.object_key": key, "mediagen.bytes": size, "mediagen.content_type": content_type}
        try:
            with tracing.span("upload output", SpanKind.CLIENT, about):
                await self._bucket.put(key, body, size, content_type)
        except StorageFailed:
            if source.failure is not None:
                raise source.failure from None
            raise


def _url(text: str) -> URL:
    try:
        return URL(text)
    except ValueError:
        raise UnusableOutput("output_forbidden_address", "the output is behind a URL that is none") from None


class _Source:
    """A stream of bytes that can be looked at before it is passed on, and that remembers how it failed."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._ahead: list[bytes] = []
        self.sha256 = hashlib.sha256()
        self.failure: SourceFailed | UnusableOutput | None = None

    async def peek(self, size: int) -> bytes:
        """The first `size` bytes, or all where there are fewer; they are passed on later all the same."""
        while sum(map(len, self._ahead)) < size and (chunk := await self._next()):
            self._ahead.append(chunk)
        if self.failure is not None:
            raise self.failure
        return b"".join(self._ahead)[:size]

    async def checked(self, size: int | None, max_bytes: int) -> AsyncIterator[bytes]:
        """Every byte, hashed; ends with `failure` set and raised where there are more than `max_bytes`, or fewer than `size`."""
        count = 0
        while chunk := self._ahead.pop(0) if self._ahead else await self._next():
            count += len(chunk)
            if count > max_bytes:
                self.failure = UnusableOutput("output_too_large", f"the output has more than {max_bytes} bytes, the most allowed")
                break
            self.sha256.update(chunk)
            yield chunk
            failpoint("generator.output.uploading")
        if self.failure is None and size is not None and count < size:
            self.failure = SourceFailed("output_truncated", f"the output ended after {count} bytes of {size}")
        if self.failure is not None:
            raise self.failure

    async def _next(self) -> bytes:
        """The next chunk; empty at the end, and after a failure."""
        if self.failure is not None:
            return b""
        try:
            chunk = await anext(self._chunks, b"")
            failpoint("generator.output.downloading")
            return chunk
        except aiohttp.ClientPayloadError:
            self.failure = SourceFailed("output_truncated", "the output broke off")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.failure = SourceFailed("output_unavailable", f"{type(error).__name__} at the source of the output")
        return b""


async def _spool(chunks: AsyncIterator[bytes], spool: IO[bytes]) -> int:
    """Writes a source of unknown length to a file: S3 wants to know the length first."""
    async for chunk in chunks:
        await asyncio.to_thread(spool.write, chunk)
    return spool.tell()


async def _unspool(spool: IO[bytes]) -> AsyncIterator[bytes]:
    spool.seek(0)
    while chunk := await asyncio.to_thread(spool.read, 4 * CHUNK_BYTES):
        yield chunk
