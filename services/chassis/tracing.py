"""Traces: what a service does for one request or job, as spans that go by OTLP to wherever the settings say.

Where they say nothing no span is made, and the trace that a caller named is passed on as it came; where it named none, one that is
not sampled. A trace id is in every log line either way. Few things have a span: what takes time, and what crosses a border.
"""

import asyncio
import contextlib
import logging
import random
import re
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

import grpc
import structlog
from opentelemetry import context, trace
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from chassis.errors import AppError
from chassis.settings import TracingSettings
from chassis.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

Attributes = dict[str, str | int | float | bool]

SERVER_ERRORS = {
    *(grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNIMPLEMENTED),
    *(grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS),
}
"""The codes that OpenTelemetry counts as errors of a server."""

SILENT_SECONDS = 60.0
"""A collector that is away is worth a line in the log only so often."""

FLUSH_SECONDS = 1.0
"""How long the end of a service waits for its last spans to be taken; after that they are lost."""

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_propagator = TraceContextTextMapPropagator()

_received: ContextVar[str] = ContextVar("traceparent", default="")
_tracer: trace.Tracer | None = None  # the process's, as its log is; None while traces go nowhere


class _Seldom(logging.Filter):
    """Lets a line pass every SILENT_SECONDS."""

    _passed_at = -float("inf")

    def filter(self, record: logging.LogRecord) -> bool:
        if time.monotonic() - self._passed_at < SILENT_SECONDS:
            return False
        self._passed_at = time.monotonic()
        return True


_seldom = _Seldom()


def valid(traceparent: str | None) -> str:
    """The W3C trace context as it is, where it is one; otherwise nothing."""
    return traceparent if traceparent and _TRACEPARENT.fullmatch(traceparent) else ""


def trace_id(traceparent: str | None) -> str:
    """Its trace, as log lines and trace viewers write it; nothing where there is none."""
    known = valid(traceparent)
    return known.split("-")[1] if known else ""


def receive(traceparent: str | None) -> None:
    """What this task does from now on belongs to that trace, or to none."""
    known = valid(traceparent)
    _received.set(known)
    if _tracer is not None:
        context.attach(_parsed(known))
    _bind(known)


def begin() -> None:
    """Where no trace came and no span will begin one, an id is made up that is in every log line of the job, and in no span."""
    if _tracer is None and not _received.get():
        trace = f"{random.getrandbits(128) or 1:032x}"
        _received.set(f"00-{trace}-{random.getrandbits(64) or 1:016x}-00")
        structlog.contextvars.bind_contextvars(trace_id=trace)


def traceparent() -> str:
    """What to pass on to whoever is called: the current span, else what was received; nothing where there is neither."""
    return _written(trace.get_current_span()) if _tracer is not None else _received.get()


@contextlib.contextmanager
def span(name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes | None = None) -> Iterator[Span]:
    """Something that this task does, within what it did before. An exception marks it as failed, by its class alone.

    Of errors that are answers to a caller only those do that are ours, not the caller's: NOT_FOUND is no failure of who says so.
    """
    if _tracer is None:
        yield INVALID_SPAN
        return
    made = _tracer.start_as_current_span(name, None, kind, attributes, record_exception=False, set_status_on_exception=False)
    with made as started:
        if not _received.get():
            _bind(_written(started))  # a trace begins here
        try:
            yield started
        except AppError as error:
            if error.code in SERVER_ERRORS:
                failed(started, error.code.name)
            raise
        except Exception as error:
            failed(started, type(error).__name__)
            raise


def failed(span: Span, error: str, status: int = 0) -> None:
    """Marks what the span is of as failed: by a word of ours, and by the HTTP status of the answer, where there was one."""
    span.set_status(Status(StatusCode.ERROR, error))
    span.set_attribute("error.type", error)
    if status:
        span.set_attribute("http.response.status_code", status)


def record(name: str, parent: str | None, began: float, kind: SpanKind, attributes: Attributes, error: str = "") -> None:
    """Something that was done for another trace than the current one, from `began` (of time.time) until now; with `error`, in vain.

    Nothing is recorded without a parent: what is done for many at once belongs to each of them, or to nobody.
    """
    if _tracer is not None and (known := valid(parent)):
        done = _tracer.start_span(name, _parsed(known), kind, attributes, start_time=int(began * 1e9))
        if error:
            failed(done, error)
        done.end()


def _parsed(traceparent: str) -> context.Context:
    return _propagator.extract({"traceparent": traceparent}, context.Context())


def _written(span: Span) -> str:
    its = span.get_span_context()
    return f"00-{its.trace_id:032x}-{its.span_id:016x}-{its.trace_flags:02x}" if its.is_valid else ""


def _bind(traceparent: str) -> None:
    if traceparent:
        structlog.contextvars.bind_contextvars(trace_id=trace_id(traceparent))
    else:
        structlog.contextvars.unbind_contextvars("trace_id")


@contextlib.asynccontextmanager
async def exporting_traces(service: str, settings: TracingSettings, instance: str = "") -> AsyncIterator[None]:
    """Has spans made and exported while the context lasts, if the settings name an endpoint.

    `instance` tells this process from others of the service. Spans go in batches from a thread of their own. While nobody takes
    them they are dropped, and nothing waits for it.
    """
    if settings.otel_exporter_otlp_endpoint is None:
        yield
        return
    global _tracer
    provider = _provider(service, settings, instance)
    _tracer = provider.get_tracer("mediagen")
    try:
        yield
    finally:
        _tracer = None
        # The SDK itself would wait half a minute for a collector that is away.
        flushed = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
        flushed.start()
        await asyncio.to_thread(flushed.join, FLUSH_SECONDS)


def _provider(service: str, settings: TracingSettings, instance: str) -> "TracerProvider":
    # Imported here: they take ten megabytes, which nobody pays for whose traces go nowhere.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, TraceIdRatioBased

    roots = {"always_on": ALWAYS_ON, "always_off": ALWAYS_OFF, "traceidratio": TraceIdRatioBased(settings.otel_traces_sampler_arg)}
    name = settings.otel_traces_sampler
    root = roots[name.removeprefix("parentbased_")]
    about = {"service.name": settings.otel_service_name or f"mediagen-{service}", "service.version": VERSION}
    if instance:
        about["service.instance.id"] = instance
    provider = TracerProvider(
        sampler=ParentBased(root) if name.startswith("parentbased_") else root,
        resource=Resource.create(about),
        shutdown_on_exit=False,
    )
    endpoint = f"{str(settings.otel_exporter_otlp_endpoint).rstrip('/')}/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
    for noisy in ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk._shared_internal"):
        logging.getLogger(noisy).addFilter(_seldom)
    return provider
