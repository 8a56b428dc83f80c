"""What surrounds every request, as plain ASGI: its id, its log line and its figures; the limit of its body; its last resort."""

import asyncio
import time

import structlog
from prometheus_client import Counter, Gauge, Histogram
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.caller import request_id_of
from gateway.problems import ProblemError, internal_error, problem_response

log = structlog.get_logger()

_requests = Counter("mediagen_http_requests_total", "HTTP requests answered.", ["route", "method", "code"])
_seconds = Histogram(
    "mediagen_http_request_seconds", "Seconds from a request's arrival to the end of its answer.", ["route", "method"]
)
_in_flight = Gauge("mediagen_http_requests_in_flight", "HTTP requests that are being answered.")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET = frozenset({"/livez", "/readyz"})

_DEFAULT_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),  # job views hold links that are capabilities
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
"""For every answer that does not say otherwise."""


class Envelope:
    """Gives a request its id and its answer the headers that every answer has, and tells of it in one log line and the metrics.

    The line has the path without its query: that may hold an access token.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Goes around everything else."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(Headers(scope=scope).get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 499  # what nginx calls a client that left before its answer began

        async def send_enveloped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message["headers"])
                present = {name.lower() for name, _ in headers}
                headers += [(name, value) for name, value in _DEFAULT_HEADERS if name not in present]
                headers.append((b"x-request-id", request_id.encode()))
                message["headers"] = headers
            await send(message)

        began = time.perf_counter()
        try:
            with _in_flight.track_inprogress():
                await self._app(scope, receive, send_enveloped)
        finally:
            _record(scope, status, time.perf_counter() - began)


def _record(scope: Scope, status: int, seconds: float) -> None:
    path = scope["path"]
    method = scope["method"] if scope["method"] in _METHODS else "other"
    route = getattr(scope.get("route"), "path_format", "unmatched")
    _requests.labels(route, method, str(status)).inc()
    _seconds.labels(route, method).observe(seconds)
    if path in _QUIET and status == 200:
        return
    log.info("http.request", method=method, path=path, route=route, status=status, seconds=round(seconds, 4))


class LastResort:
    """Answers with a problem what nobody caught; an answer that had begun is cut off, so that its reader notices."""

    def __init__(self, app: ASGIApp) -> None:
        """Goes around the application and inside CORS, so that browsers may read these answers too."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        started = False

        async def send_watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_watched)
        except Exception:
            log.exception("http.failed", path=scope.get("path"))
            if scope["type"] == "http" and not started:
                await problem_response(scope, internal_error())(scope, receive, send)


class BodyLimit:
    """Refuses a request body above `limit` bytes with 413, counted as it arrives: a Content-Length may be absent or a lie.

    The rest of a body that is somewhat too large is read and dropped first: a client that still writes would otherwise see its
    connection reset instead of the answer.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        """`limit` is in bytes."""
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):  # whose body nobody reads
            await self._app(scope, receive, send)
            return
        seen = 0

        async def receive_counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                await _drop(message, receive, 32 * self._limit)
                detail = f"The body is larger than {self._limit} bytes."
                raise ProblemError(413, "body_too_large", detail, headers={"Connection": "close"})
            return message

        await self._app(scope, receive_counted, send)


async def _drop(message: Message, receive: Receive, limit: int) -> None:
    """Reads what is left of a body, up to `limit` bytes and for up to 5 seconds."""
    dropped = 0
    try:
        async with asyncio.timeout(5):
            while message.get("more_body") and dropped < limit:
                message = await receive()
                dropped += len(message.get("body", b""))
    except TimeoutError:
        return
