"""What is counted of calls, and how the server's border ends them: by gRPC's names, however a call ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import pytest
from prometheus_client import REGISTRY

from chassis.channel import TRACEPARENT, channel
from chassis.errors import AppError
from chassis.rpc import serving_grpc
from chassis.settings import HostPort
from chassis.tracing import exporting_traces
from otlp import collecting
from ports import any_free_port
from unit.chassis.test_tracing import SAMPLED, TRACE, settings
from waiting import until

Context = grpc.aio.ServicerContext[bytes, bytes]


async def behave(request: bytes, context: Context) -> bytes:
    """Ends as the request says."""
    match request:
        case b"refuse":
            raise AppError(grpc.StatusCode.NOT_FOUND, "NOTHING_HERE", "There is nothing.")
        case b"abort":
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no more")
        case b"break":
            raise ZeroDivisionError
        case b"wait":
            await asyncio.Event().wait()
    return request


async def count(request: bytes, context: Context) -> AsyncIterator[bytes]:
    yield request
    yield await behave(request, context)


def register(server: grpc.aio.Server) -> None:
    handlers = {
        "Behave": grpc.unary_unary_rpc_method_handler(behave, bytes, bytes),
        "Count": grpc.unary_stream_rpc_method_handler(count, bytes, bytes),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tests.v1.Service", handlers),))


async def authenticate(token: str | None) -> None:
    if token == "wrong":
        raise AppError(grpc.StatusCode.UNAUTHENTICATED, "KEY_WRONG", "No.")


@pytest.fixture
async def connection() -> AsyncIterator[grpc.aio.Channel]:
    at = HostPort("127.0.0.1", any_free_port())
    async with AsyncExitStack() as stack:
        serving = serving_grpc(at, [], register, authenticate, asyncio.Event(), notice_seconds=0, drain_seconds=0)
        await stack.enter_async_context(serving)
        yield await stack.enter_async_context(channel(at))


def value(name: str, method: str = "Behave", kind: str = "unary", **labels: str) -> float:
    of = {"grpc_type": kind, "grpc_service": "tests.v1.Service", "grpc_method": method, **labels}
    return REGISTRY.get_sample_value(name, of) or 0


class Counted:
    """What was counted since it was made."""

    def __init__(self, code: str, method: str = "Behave", kind: str = "unary") -> None:
        self._of = {"method": method, "kind": kind}
        self._code = code
        self._before = self._now()

    def _now(self) -> tuple[float, float, float]:
        return (
            value("grpc_server_started_total", **self._of),
            value("grpc_server_handled_total", **self._of, grpc_code=self._code),
            value("grpc_server_handling_seconds_count", **self._of),
        )

    @property
    def calls(self) -> tuple[float, ...]:
        """Calls that began, that ended with the code, and whose time was taken."""
        return tuple(now - before for now, before in zip(self._now(), self._before, strict=True))


@pytest.mark.parametrize(
    ("request_bytes", "token", "code"),
    [
        (b"answer", "", "OK"),
        (b"refuse", "", "NOT_FOUND"),
        (b"abort", "", "RESOURCE_EXHAUSTED"),
        (b"break", "", "INTERNAL"),
        (b"answer", "wrong", "UNAUTHENTICATED"),
    ],
)
async def test_a_call_is_counted_once_by_the_code_that_its_caller_sees(
    connection: grpc.aio.Channel, request_bytes: bytes, token: str, code: str
) -> None:
    counted = Counted(code)
    call = connection.unary_unary("/tests.v1.Service/Behave")(
        request_bytes, timeout=10, metadata=[("authorization", f"Bearer {token}")], wait_for_ready=True
    )
    assert (await call.code()).name == code
    await until(lambda: counted.calls == (1, 1, 1))  # the status is on its way before its handler has ended


async def test_a_call_that_its_client_lets_go_of_counts_as_cancelled(connection: grpc.aio.Channel) -> None:
    began, ended = Counted("CANCELLED"), Counted("OK")
    call = connection.unary_unary("/tests.v1.Service/Behave")(b"wait", timeout=10, wait_for_ready=True)
    await until(lambda: began.calls[0])
    call.cancel()
    await until(lambda: began.calls == (1, 1, 1))
    assert ended.calls[1] == 0


@pytest.mark.parametrize(("request_bytes", "code"), [(b"answer", "OK"), (b"break", "INTERNAL"), (b"refuse", "NOT_FOUND")])
async def test_a_stream_is_counted_when_it_ends(connection: grpc.aio.Channel, request_bytes: bytes, code: str) -> None:
    counted = Counted(code, "Count", "server_stream")
    call = connection.unary_stream("/tests.v1.Service/Count")(request_bytes, timeout=10, wait_for_ready=True)
    with contextlib.suppress(grpc.aio.AioRpcError):
        assert len([message async for message in call]) == 2
    assert (await call.code()).name == code
    await until(lambda: counted.calls == (1, 1, 1))


async def test_unknown_methods_make_no_series(connection: grpc.aio.Channel) -> None:
    call = connection.unary_unary("/tests.v1.Service/Nothing-of-this-name")(b"", timeout=10, wait_for_ready=True)
    assert await call.code() == grpc.StatusCode.UNIMPLEMENTED
    assert not [sample for metric in REGISTRY.collect() for sample in metric.samples if "Nothing-of" in str(sample.labels)]


async def test_a_call_has_a_span_below_its_callers_and_none_without(connection: grpc.aio.Channel) -> None:
    async with collecting() as collector, exporting_traces("tester", settings(collector.endpoint)):
        for metadata in ([(TRACEPARENT, SAMPLED)], []):
            await connection.unary_unary("/tests.v1.Service/Behave")(b"answer", timeout=10, metadata=metadata, wait_for_ready=True)
        await until(lambda: collector.spans)
    assert [(span.trace_id, span.name) for span in collector.spans] == [(TRACE, "tests.v1.Service/Behave")]
