"""Reading objects from S3: `minio` signs, aiohttp streams with bounded memory."""

from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.parse import urlsplit

import aiohttp
import structlog
from minio import Minio

from chassis.http_metrics import object_store
from chassis.server_time import ServerTime
from gateway.conditional import Span
from gateway.problems import ProblemError

log = structlog.get_logger()

CHUNK_BYTES = 256 * 1024
"""The most that one download holds in memory, beside the sockets' buffers."""

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=15)
_LINK_LIFE = timedelta(minutes=5)
_CLOCK_OFF = timedelta(minutes=1)


class ObjectStore:
    """One bucket, read only."""

    def __init__(
        self, session: aiohttp.ClientSession, *, endpoint: str, region: str, access_key: str, secret_key: str, bucket: str
    ):
        """`endpoint` is http(s)://host[:port]; the session stays the caller's to close."""
        url = urlsplit(endpoint)
        self._session = session
        self._bucket = bucket
        self._clock = ServerTime()
        object_store.expect("GET", "200")
        # With a region it signs without asking the server anything.
        self._minio = Minio(
            endpoint=url.netloc, access_key=access_key, secret_key=secret_key, secure=url.scheme == "https", region=region
        )

    async def open(self, key: str, size: int, span: Span | None) -> "OpenObject":
        """Opens an object of `size` bytes, or a part of it. Raises ProblemError: 404 where it is gone, 503 where S3 is away."""
        headers = {"Accept-Encoding": "identity"}
        if span is not None:
            headers["Range"] = f"bytes={span.start}-{span.end - 1}"
        response, off = await self._get(key, headers)
        if response.status in (400, 403) and abs(off) > _CLOCK_OFF:  # refused for our clock; its own is known by now
            log.warning("object_store.clock", seconds_off=round(off.total_seconds()))
            response.close()
            response, _ = await self._get(key, headers)
        if response.status == 404:
            response.close()
            log.error("object.gone", key=key)
            raise ProblemError(404, "object_gone", "The file is no longer in the bucket.")
        if response.status not in (200, 206):
            response.close()
            raise _away(key, f"S3 answered {response.status}")
        # The header tells, not the status: rclone sends a part with 200, others answer a Range with the whole object.
        part = response.headers.get("Content-Range")
        span = span or Span(0, size)
        expected = size if part is None else span.length
        if response.content_length != expected or part not in (None, f"bytes {span.start}-{span.end - 1}/{size}"):
            response.close()
            raise _away(key, f"S3 sends {response.content_length} bytes ({part}) instead of {expected}")
        return OpenObject(response, skip=span.start if part is None else 0, length=span.length)

    async def _get(self, key: str, headers: dict[str, str]) -> tuple[aiohttp.ClientResponse, timedelta]:
        """The answer to a request that is signed by the server's own clock, and how far off that was believed to be."""
        link = self._minio.get_presigned_url(
            method="GET", bucket_name=self._bucket, object_name=key, expires=_LINK_LIFE, request_date=self._clock.now()
        )
        try:
            with object_store.measured("GET") as statuses:
                response = await self._session.get(link, headers=headers, timeout=_TIMEOUT)
                statuses.append(response.status)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _away(key, f"{type(error).__name__}: {error}") from None
        return response, self._clock.learn(response.headers.get("Date"))


class OpenObject:
    """An object whose bytes are on their way."""

    def __init__(self, response: aiohttp.ClientResponse, *, skip: int, length: int) -> None:
        """The first `skip` bytes of the response are read and dropped, the `length` bytes after them are wanted."""
        self._response = response
        self._skip = skip
        self._left = length

    async def chunks(self) -> AsyncIterator[bytes]:
        """Exactly the bytes that were asked for; raises aiohttp.ClientError where they end early."""
        async for chunk in self._response.content.iter_chunked(CHUNK_BYTES):
            if self._skip >= len(chunk):
                self._skip -= len(chunk)
                continue
            piece = chunk[self._skip : self._skip + self._left]
            self._skip = 0
            self._left -= len(piece)
            yield piece
            if not self._left:
                return

    def close(self) -> None:
        """Ends the download. A connection whose answer was not read to its end is not used again."""
        self._response.close()


def _away(key: str, why: str) -> ProblemError:
    log.warning("object_store.away", key=key, error=why)
    detail = "The file cannot be read right now; the job is unharmed. Try again."
    return ProblemError(503, "object_store_unavailable", detail, headers={"Retry-After": "2"})
