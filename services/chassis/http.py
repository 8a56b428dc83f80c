"""Serving an ASGI application with uvicorn, on the service's own loop and under its own signals."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import uvicorn

from chassis.settings import HostPort
from chassis.sockets import bind

DRAIN_SECONDS = 15
"""How long open requests may take to end after SIGTERM: a service has to be gone within 20 s."""

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept: longer than balancers keep theirs (60 s with most), as a request that is sent while
it is closed here gets no answer."""


class Server(uvicorn.Server):
    """uvicorn without its own signal handling: it re-raises SIGTERM after its shutdown, and nothing around it would be closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leaves the signals to the service."""
        yield


@contextlib.asynccontextmanager
async def serving(app: Callable[..., Any], listen: HostPort, drain_seconds: int = DRAIN_SECONDS) -> AsyncIterator[None]:
    """Serves `app` while the context lasts; leaving it stops accepting and gives open requests `drain_seconds` to end."""
    config = uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
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
