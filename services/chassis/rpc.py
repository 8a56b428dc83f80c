"""gRPC as every service serves it: with health, reflection, authentication, typed errors, metrics and traces."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status
from opentelemetry.trace import SpanKind

from chassis import tracing
from chassis.channel import KEEPALIVE_SECONDS, MAX_MESSAGE_BYTES, REQUEST_ID, TRACEPARENT
from chassis.errors import AppError, internal, to_status
from chassis.rpc_metrics import MethodMetrics, Outcome
from chassis.settings import HostPort
from chassis.sockets import bind
from chassis.tls import ServerTls, server_credentials

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]
else:
    Handler = grpc.RpcMethodHandler
    Context = grpc.aio.ServicerContext

log = structlog.get_logger()

caller: ContextVar[Any] = ContextVar("caller")
"""Who makes the current call: what the server's `authenticate` returned."""

MAX_METADATA_BYTES = 64 * 1024
"""A batch call names the request id and trace of each of its requests in metadata; gRPC itself refuses more than 8 to 16 KiB."""

NOTICE_SECONDS = 0.5
"""How long a server that is to end goes on serving after it said so. gRPC cancels calls that are on their way while a server stops;
clients that watch its health have turned to another one by then."""

CONNECTION_AGE_SECONDS = 300
"""How old a connection grows. Clients look names up again only when one ends; so that a new pod gets its share, none lives long."""

DRAIN_SECONDS = 15.0
"""How long open calls may take to end after that: a service has to be gone within 20 s."""

Authenticate = Callable[[str | None], Awaitable[Any]]
"""Turns the bearer token of a call (None where it has none) into the caller, or raises AppError."""


class _Boundary(grpc.aio.ServerInterceptor):
    """Between the wire and the handlers: binds the request id, authenticates, counts, and turns exceptions into statuses."""

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate
        self._methods: dict[str, MethodMetrics] = {}

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]], details: grpc.HandlerCallDetails
    ) -> Handler | None:
        handler = await continuation(details)
        method: str = details.method
        if handler is None or method.startswith("/grpc."):  # unknown methods; health and reflection need no key
            return handler
        # Requests are decoded in here: bytes that are no message would end as an UNKNOWN of gRPC's own.
        decode: Any = handler.request_deserializer
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(method, handler.unary_unary, decode), None, handler.response_serializer
            )
        if handler.unary_stream:
            one = functools.partial(_decoded, decode=decode)
            return grpc.unary_stream_rpc_method_handler(
                self._stream(method, "server_stream", handler.unary_stream, one), None, handler.response_serializer
            )
        each = functools.partial(_each_decoded, decode=decode)
        return grpc.stream_stream_rpc_method_handler(
            self._stream(method, "bidi_stream", handler.stream_stream, each), None, handler.response_serializer
        )

    def _unary(self, method: str, behaviour: Any, decode: Any) -> Any:
        measured = self._metrics(method, "unary").measured

        async def unary(request: bytes, context: Context) -> Message:
            with measured() as outcome:
                async with self._call(method, context, outcome):
                    # One that comes without a trace is of a loop of ours, and nobody would look for it.
                    with _traced(method) if tracing.traceparent() else contextlib.nullcontext():
                        response: Message = await behaviour(_decoded(request, decode), context)
                        return response
            raise AssertionError("the call was aborted")  # pragma: no cover

        return unary

    def _stream(self, method: str, kind: str, behaviour: Any, decode: Any) -> Any:
        measured = self._metrics(method, kind).measured

        async def stream(request: Any, context: Context) -> AsyncIterator[Message]:
            with measured() as outcome:
                async with self._call(method, context, outcome):
                    async for response in behaviour(decode(request), context):
                        yield response

        return stream

    def _metrics(self, method: str, kind: str) -> MethodMetrics:
        if method not in self._methods:
            self._methods[method] = MethodMetrics(method, kind)
        return self._methods[method]

    @contextlib.asynccontextmanager
    async def _call(self, method: str, context: Context, outcome: Outcome) -> AsyncIterator[None]:
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        structlog.contextvars.clear_contextvars()
        if request_id := metadata.get(REQUEST_ID):
            structlog.contextvars.bind_contextvars(request_id=request_id)
        tracing.receive(metadata.get(TRACEPARENT))
        try:
            scheme, _, token = metadata.get("authorization", "").partition(" ")
            caller.set(await self._authenticate(token if scheme.lower() == "bearer" and token else None))
            yield
        except AppError as error:
            outcome.code = error.code.name
            await context.abort_with_status(rpc_status.to_status(to_status(error)))
        except grpc.aio.AbortError:
            outcome.code = context.code().name
            raise
        except (asyncio.CancelledError, GeneratorExit):
            outcome.code = grpc.StatusCode.CANCELLED.name
            raise
        except Exception:
            outcome.code = grpc.StatusCode.INTERNAL.name
            log.exception("rpc.failed", method=method)
            await context.abort_with_status(rpc_status.to_status(to_status(internal())))


@contextlib.contextmanager
def _traced(method: str) -> Iterator[None]:
    """A call's span, in the words that OpenTelemetry has for calls."""
    service, _, name = method.strip("/").rpartition("/")
    about: tracing.Attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
    with tracing.span(method.strip("/"), SpanKind.SERVER, about) as span:
        code = grpc.StatusCode.INTERNAL  # as which what nobody foresaw is answered
        try:
            yield
            code = grpc.StatusCode.OK
        except AppError as error:
            code = error.code
            raise
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        finally:
            span.set_attribute("rpc.grpc.status_code", code.value[0])


def _decoded(request: bytes, decode: Callable[[bytes], Message]) -> Message:
    try:
        return decode(request)
    except DecodeError:
        message = "The request is no message of this method."
        raise AppError(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_UNDECODABLE", message) from None


async def _each_decoded(requests: AsyncIterator[bytes], decode: Callable[[bytes], Message]) -> AsyncIterator[Message]:
    async for request in requests:
        yield _decoded(request, decode)


@contextlib.asynccontextmanager
async def serving_grpc(
    listen: HostPort,
    services: Sequence[str],
    register: Callable[[grpc.aio.Server], None],
    authenticate: Authenticate,
    stopping: asyncio.Event,
    *,
    tls: ServerTls | None = None,
    connection_age_seconds: int = CONNECTION_AGE_SECONDS,
    notice_seconds: float = NOTICE_SECONDS,
    drain_seconds: float = DRAIN_SECONDS,
) -> AsyncIterator[None]:
    """Serves what `register` adds, under the full names `services`, while the context lasts and until `stopping` is set.

    Then it reports NOT_SERVING, serves for `notice_seconds` more, and gives open calls `drain_seconds`; several servers that share
    `stopping` do so at the same time. Leaving the context sets it and waits. A connection ends after `connection_age_seconds`,
    give or take a tenth. Raises StartupError where the address is taken.
    """
    server = grpc.aio.server(
        interceptors=[_Boundary(authenticate)],
        options=[
            ("grpc.so_reuseport", 0),  # without it a second server takes the same port silently
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_metadata_size", MAX_METADATA_BYTES),
            ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", KEEPALIVE_SECONDS * 500),
            ("grpc.http2.max_ping_strikes", 0),
            ("grpc.max_connection_age_ms", connection_age_seconds * 1000),
            ("grpc.max_connection_age_grace_ms", 30_000),
        ],
    )
    register(server)
    health = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    reflection.enable_server_reflection([*services, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name], server)
    bind(listen).close()  # gRPC would say why it cannot listen to the terminal only, in its own words
    if tls is None:
        server.add_insecure_port(str(listen))
    else:
        server.add_secure_port(str(listen), server_credentials(tls))
    await server.start()
    for name in ("", *services):
        await health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def drain() -> None:
        await stopping.wait()
        await health.enter_graceful_shutdown()
        await asyncio.sleep(notice_seconds)
        await server.stop(drain_seconds)

    drained = asyncio.create_task(drain(), name=f"drain {listen}")
    try:
        yield
    finally:
        stopping.set()
        await drained
