"""A collector of the test's own: takes spans by OTLP over HTTP, as real ones do, and keeps them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

import ports


@dataclass(frozen=True)
class Exported:
    """One span as it came."""

    service: str
    instance: str
    """The process of the service that it is of; empty where it does not say."""
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    began: int
    ended: int
    failed: str | None
    """The message of its status, where that is an error."""
    attributes: dict[str, Any]
    whole: str
    """All of it as text, events and what is not named here included."""


class Collector:
    """What was exported to `endpoint`."""

    def __init__(self, port: int, status: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.spans: list[Exported] = []
        self.posts = 0
        self._status = status

    def of(self, trace_id: str) -> list[Exported]:
        """The spans of a trace, as they began."""
        return sorted((span for span in self.spans if span.trace_id == trace_id), key=lambda span: span.began)

    async def take(self, request: web.Request) -> web.Response:
        self.posts += 1
        message = ExportTraceServiceRequest.FromString(await request.read())
        for resource in message.resource_spans:
            about = _values(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += [_exported(about, span) for span in scope.spans]
        body = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=body, status=self._status, content_type="application/x-protobuf")


@asynccontextmanager
async def collecting(status: int = 200) -> AsyncIterator[Collector]:
    """A collector that answers every export with that status."""
    port = ports.any_free_port()
    collector = Collector(port, status)
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield collector
    finally:
        await runner.cleanup()


def _exported(about: dict[str, Any], span: Any) -> Exported:
    return Exported(
        service=about["service.name"],
        instance=about.get("service.instance.id", ""),
        name=span.name,
        kind=span.kind,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        began=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        failed=span.status.message if span.status.code == span.status.STATUS_CODE_ERROR else None,
        attributes=_values(span.attributes),
        whole=str(span),
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in attributes}
