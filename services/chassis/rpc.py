"""gRPC as every service speaks it: a server with health, reflection, authentication and typed errors, and a channel that heals."""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status
from prometheus_client import Counter, Histogram

from chassis.errors import AppError, to_status
from chassis.settings import HostPort
from chassis.sockets import bind

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]
else:
    Handler = grpc.RpcMethodHandler

log = structlog.get_logger()

caller: ContextVar[Any] = ContextVar("caller")
"""Who makes the current call: what the server's `authenticate` returned."""

REQUEST_ID = "x-request-id"
"""Metadata key of the request id, the same as the HTTP header."""

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""A batch of 256 jobs of the largest size fits."""

MAX_METADATA_BYTES = 64 * 1024
"""A batch call names the request id and trace of each of its requests in metadata; gRPC itself refuses more than 8 to 16 KiB."""

KEEPALIVE_SECONDS = 30

_handled = Counter("grpc_server_handled_total", "RPCs completed, by code.", ["grpc_method", "grpc_code"])
_seconds = Histogram("grpc_server_handling_seconds", "Seconds from an RPC's arrival to its answer.", ["grpc_method"])

Authenticate = Callable[[str | None], Awaitable[Any]]
"""Turns the bearer token of a call (None where it has none) into the caller, or raises AppError."""


class _Boundary(grpc.aio.ServerInterceptor):
    """Between the wire and the handlers: binds the request id, authenticates, counts, and turns exceptions into statuses."""

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]], details: grpc.HandlerCallDetails
    ) -> Handler | None:
        handler = await continuation(details)
        method: str = details.method
        if handler is None or method.startswith("/grpc."):  # unknown methods; health and reflection need no key
            return handler
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(method, handler.unary_unary), handler.request_deserializer, handler.response_serializer
            )
        return grpc.unary_stream_rpc_method_handler(
            self._stream(method, handler.unary_stream), handler.request_deserializer, handler.response_serializer
        )

    def _unary(self, method: str, behaviour: Any) -> Any:
        async def unary(request: Message, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
            async with self._call(method, context):
                response: Message = await behaviour(request, context)
                return response
            raise AssertionError("the call was aborted")  # pragma: no cover

        return unary

    def _stream(self, method: str, behaviour: Any) -> Any:
        async def stream(request: Message, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Message]:
            async with self._call(method, context):
                async for response in behaviour(request, context):
                    yield response

        return stream

    @contextlib.asynccontextmanager
    async def _call(self, method: str, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        structlog.contextvars.clear_contextvars()
        if request_id := metadata.get(REQUEST_ID):
            structlog.contextvars.bind_contextvars(request_id=request_id)
        began = time.perf_counter()
        code = "OK"
        try:
            scheme, _, token = metadata.get("authorization", "").partition(" ")
            caller.set(await self._authenticate(token if scheme.lower() == "bearer" and token else None))
            yield
        except AppError as error:
            code = error.code.name
            await context.abort_with_status(rpc_status.to_status(to_status(error)))
        except (grpc.aio.AbortError, GeneratorExit):
            raise
        except Exception:
            code = "INTERNAL"
            log.exception("rpc.failed", method=method)
            failure = AppError(grpc.StatusCode.INTERNAL, "INTERNAL", "Something went wrong here; it is in the log.")
            await context.abort_with_status(rpc_status.to_status(to_status(failure)))
        finally:
            _handled.labels(method, code).inc()
            _seconds.labels(method).observe(time.perf_counter() - began)


@contextlib.asynccontextmanager
async def serving_grpc(
    listen: HostPort,
    services: Sequence[str],
    register: Callable[[grpc.aio.Server], None],
    authenticate: Authenticate,
    drain_seconds: float = 20,
) -> AsyncIterator[None]:
    """Serves what `register` adds, under the full names `services`, while the context lasts.

    Leaving it reports NOT_SERVING, then gives open calls `drain_seconds`. Raises StartupError where the address is taken.
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
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
            ("grpc.http2.max_ping_strikes", 0),
            # Clients look names up again only when a connection ends; so that a new pod gets its share, none lives long.
            ("grpc.max_connection_age_ms", 300_000),
            ("grpc.max_connection_age_grace_ms", 30_000),
        ],
    )
    register(server)
    health = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    reflection.enable_server_reflection([*services, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name], server)
    bind(listen).close()  # gRPC would say why it cannot listen to the terminal only, in its own words
    server.add_insecure_port(str(listen))
    await server.start()
    for name in ("", *services):
        await health.set(name, health_pb2.HealthCheckResponse.SERVING)
    try:
        yield
    finally:
        await health.enter_graceful_shutdown()
        await server.stop(drain_seconds)


def channel(target: HostPort) -> grpc.aio.Channel:
    """A channel to every address of `target`, in turn. Calls that the server surely did not commit are repeated where it was away.

    Every call needs a timeout of its own; every RPC of ours may be repeated.
    """
    config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
        "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
    }
    return grpc.aio.insecure_channel(
        f"dns:///{target}",
        options=[
            ("grpc.service_config", json.dumps(config)),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.max_reconnect_backoff_ms", 2_000),
        ],
    )
