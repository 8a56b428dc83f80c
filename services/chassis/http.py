"""Serving an ASGI application with uvicorn, on the service's own loop and under its own signals."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import uvicorn

from chassis.lifecycle import StartupError
from chassis.settings import HostPort


class Server(uvicorn.Server):
    """uvicorn without its own signal handling: it re-raises SIGTERM after its shutdown, and nothing around it would be closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leaves the signals to the service."""
        yield


def bind(listen: HostPort) -> socket.socket:
    """Binds the address before anything else starts; raises StartupError where it is taken."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(tuple(listen))
    except OSError as error:
        bound.close()
        raise StartupError(f"cannot listen on {listen}: {error.strerror}") from None
    return bound


@contextlib.asynccontextmanager
async def serving(app: Callable[..., Any], listen: HostPort, drain_seconds: int = 20) -> AsyncIterator[None]:
    """Serves `app` while the context lasts; leaving it stops accepting and gives open requests `drain_seconds` to end."""
    config = uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=drain_seconds,
    )
    server = Server(config)
    task = asyncio.create_task(server.serve(sockets=[bind(listen)]), name=f"http {listen}")
    while not server.started and not task.done():  # noqa: ASYNC110  uvicorn tells it in no other way
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await task
