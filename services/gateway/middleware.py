"""What surrounds every request, as plain ASGI: its id, its log line and its figures; the limit of its body; its last resort."""

import asyncio
import contextlib
import functools
import time
from collections.abc import Mapping
from typing import NamedTuple

import structlog
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode
from prometheus_client import Counter, Gauge, Histogram
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis import tracing
from gateway.caller import request_id_of
from gateway.problems import ProblemError, internal_error, problem_response

log = structlog.get_logger()

_requests = Counter("mediagen_http_requests_total", "HTTP requests answered, without those of probes.", ["route", "method", "code"])
_seconds = Histogram(
    "mediagen_http_request_seconds",
    "Seconds from a request's arrival to the end of its answer.",
    ["route", "method"],
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_sent_bytes = Counter("mediagen_http_response_bytes_total", "Bytes of bodies that were sent, media included.", ["route"])
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


class _Series(NamedTuple):
    requests: Counter
    seconds: Histogram
    sent_bytes: Counter


@functools.cache
def _series(route: str, method: str, code: int) -> _Series:
    """Looked up once: routes, methods and codes are few, as no label is ever what a client wrote."""
    return _Series(_requests.labels(route, method, str(code)), _seconds.labels(route, method), _sent_bytes.labels(route))


class Envelope:
    """Gives a request its id and its place in a trace, its answer the headers that every answer has, and tells of it in one log
    line, one span and the metrics.

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
        headers = Headers(scope=scope)
        request_id = request_id_of(headers.get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        tracing.receive(headers.get("traceparent"))
        tracing.begin()
        status = 499  # what nginx calls a client that left before its answer began
        sent = 0

        async def send_enveloped(message: Message) -> None:
            nonlocal status, sent
            sent += len(message.get("body", b""))
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message["headers"])
                present = {name.lower() for name, _ in headers}
                headers += [(name, value) for name, value in _DEFAULT_HEADERS if name not in present]
                headers.append((b"x-request-id", request_id.encode()))
                message["headers"] = headers
            await send(message)

        quiet = scope["path"] in _QUIET
        began = time.perf_counter()
        with contextlib.nullcontext(INVALID_SPAN) if quiet else tracing.span(scope["method"], SpanKind.SERVER) as span:
            try:
                with _in_flight.track_inprogress():
                    await self._app(scope, receive, send_enveloped)
            finally:
                _record(scope, status, time.perf_counter() - began, sent)
                if span.is_recording():
                    _describe(span, scope, status)


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"


def _route(scope: Scope) -> str:
    """The template that the path matched: what clients write in its place is without bounds."""
    return getattr(scope.get("route"), "path_format", "unmatched")


def _describe(span: Span, scope: Scope, status: int) -> None:
    method, route = _method(scope), _route(scope)
    span.update_name(f"{method} {route}")
    span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
    span.set_attributes({"mediagen.request_id": scope["state"]["request_id"]})
    if status >= 500:
        span.set_status(StatusCode.ERROR)


def _record(scope: Scope, status: int, seconds: float, sent: int) -> None:
    path, method, route = scope["path"], _method(scope), _route(scope)
    if path not in _QUIET:  # kubelets ask every few seconds: no client's request, and no part of the objectives
        _count(route, method, status, seconds, sent)
    elif status == 200:
        return
    log.info("http.request", method=method, path=path, route=route, status=status, seconds=round(seconds, 4))


def _count(route: str, method: str, status: int, seconds: float, sent: int) -> None:
    series = _series(route, method, status)
    series.requests.inc()
    series.seconds.observe(seconds)
    series.sent_bytes.inc(sent)


class LastResort:
    """Answers with a problem what nobody caught; an answer that had begun is cut off, so that its reader notices."""

    def __init__(self, app: ASGIApp) -> None:
        """Goes around all that answers and inside CORS, so that browsers may read these answers too."""
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

    def __init__(self, app: ASGIApp, limit: int, larger: Mapping[str, int]) -> None:
        """`limit` is in bytes; paths that begin with a key of `larger` have a limit of their own."""
        self._app = app
        self._limit = limit
        self._larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):  # whose body nobody reads
            await self._app(scope, receive, send)
            return
        seen = 0
        limit = next((limit for prefix, limit in self._larger.items() if scope["path"].startswith(prefix)), self._limit)

        async def receive_counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                await _drop(message, receive, 32 * self._limit)
                detail = f"The body is larger than {limit} bytes."
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
