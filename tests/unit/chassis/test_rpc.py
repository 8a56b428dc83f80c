"""Servers that end while clients call them: what the drain of `serving_grpc` and the health checks of `channel` are for."""

import asyncio
import time
from contextlib import AsyncExitStack

import grpc

from chassis.channel import channel
from chassis.rpc import serving_grpc
from chassis.settings import HostPort
from ports import any_free_port
from upgrade.balancing import Rotation, Service
from waiting import until

METHOD = "/tests.Echo/Echo"


async def echo(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    await asyncio.sleep(0.005)
    return request


def register(server: grpc.aio.Server) -> None:
    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(echo, bytes, bytes)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tests.Echo", handlers),))


async def anybody(token: str | None) -> None:
    """Authenticates."""


async def serve(port: int) -> AsyncExitStack:
    """A server of its own; closing the stack ends it as SIGTERM would."""
    stack = AsyncExitStack()
    await stack.enter_async_context(serving_grpc(HostPort("127.0.0.1", port), [], register, anybody, asyncio.Event()))
    return stack


class Callers:
    """Ten that call all the time."""

    def __init__(self, connection: grpc.aio.Channel) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self._connection = connection
        self._ended = False

    async def __aenter__(self) -> "Callers":
        self._tasks = [asyncio.create_task(self._call()) for _ in range(10)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended = True
        await asyncio.gather(*self._tasks)

    async def answers(self, count: int) -> None:
        wanted = self.answered + count
        await until(lambda: self.failures or self.answered >= wanted, 60, what=f"{count} answers")
        assert not self.failures

    async def _call(self) -> None:
        while not self._ended:
            try:
                await self._connection.unary_unary(METHOD)(b"x", timeout=30, wait_for_ready=True)
                self.answered += 1
            except grpc.aio.AioRpcError as error:
                self.failures.append(error.code().name)
            await asyncio.sleep(0.002)


async def test_servers_that_end_one_after_another_fail_no_call():
    ports = {"a": any_free_port(), "b": any_free_port()}
    rotation, behind = Rotation(ports.items()), any_free_port()
    async with AsyncExitStack() as running:  # whatever fails: all of it ends, the callers first
        service = Service(behind, rotation)
        await service.start()
        running.push_async_callback(service.aclose)
        instances = await running.enter_async_context(AsyncExitStack())
        servers = {name: await instances.enter_async_context(await serve(port)) for name, port in ports.items()}
        connection = await running.enter_async_context(channel(HostPort("127.0.0.1", behind)))
        callers = await running.enter_async_context(Callers(connection))
        for name in ["a", "b"] * 4:
            await callers.answers(50)
            rotation.take_out(name)
            await servers[name].aclose()
            servers[name] = await instances.enter_async_context(await serve(ports[name]))
            rotation.put_in(name)
    assert not callers.failures


async def test_several_servers_of_a_service_end_at_the_same_time():
    stopping = asyncio.Event()
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(
                serving_grpc(HostPort("127.0.0.1", any_free_port()), [], register, anybody, stopping, notice_seconds=1)
            )
        stopping.set()
        began = time.monotonic()
    assert time.monotonic() - began < 2.5  # one after another, it would be 3
