"""Serving an ASGI application with uvicorn, on the service's own loop and under its own signals."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chassis.settings import HostPort
from chassis.sockets import bind

NOTICE_SECONDS = 5.0
"""How long clients have after SIGTERM to leave by themselves, as each answer asks them to; less where none is left."""

DRAIN_SECONDS = 10
"""How long requests that are open after the notice may take to end: a service has to be gone within 20 s."""

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept: longer than balancers keep theirs (60 s with most), as a request that is sent while
it is closed here gets no answer."""


HELD_BYTES = 64 * 1024
"""What is written to a connection in one turn of the loop goes out together, up to about so much."""


class Together(asyncio.Transport):
    """A connection that sends at the end of a turn of the loop what was written in it.

    uvicorn writes the head of an answer and its body apart. Each would be a packet of its own that wakes the client.
    """

    def __init__(self, connection: asyncio.Transport) -> None:
        """`connection` is what sends."""
        super().__init__()
        self._connection = connection
        self._held: list[bytes | bytearray | memoryview] = []
        self._size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends it with what else is written in this turn."""
        if not self._held:
            asyncio.get_running_loop().call_soon(self._flush)
        self._held.append(data)
        self._size += len(data)
        if self._size >= HELD_BYTES:  # what waits in here nobody can count who decides whether more may be written
            self._flush()

    def _flush(self) -> None:
        held, self._held, self._size = self._held, [], 0
        if held and not self._connection.is_closing():
            self._connection.write(b"".join(held))

    def close(self) -> None:
        """Sends what was written, and closes."""
        self._flush()
        self._connection.close()

    def abort(self) -> None:
        """Closes at once."""
        self._connection.abort()

    def is_closing(self) -> bool:
        """Whether it is closed, or will be."""
        return self._connection.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What is known of the socket."""
        return self._connection.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Lets the client wait with what it sends."""
        self._connection.pause_reading()

    def resume_reading(self) -> None:
        """Takes it again."""
        self._connection.resume_reading()


class Protocol(HttpToolsProtocol):
    """uvicorn's, with an answer in as few packets as it takes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(Together(transport))


class Server(uvicorn.Server):
    """uvicorn without its own signal handling: it re-raises SIGTERM after its shutdown, and nothing around it would be closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leaves the signals to the service."""
        yield

    async def dismiss(self, seconds: float) -> None:
        """Asks with every answer that its connection be closed, until none is left or the time is over.

        Shutdown closes connections that are idle. A request that is sent in that moment gets no answer, only a reset; so whoever
        uses its connections is to have left them before.
        """
        close = (b"connection", b"close")
        self.config.encoded_headers.append(close)
        self.server_state.default_headers = [*self.server_state.default_headers, close]  # uvicorn makes them once a second
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.server_state.connections:  # noqa: ASYNC110  uvicorn tells it in no other way
                    await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def serving(
    app: Callable[..., Any], listen: HostPort, *, notice_seconds: float = NOTICE_SECONDS, drain_seconds: int = DRAIN_SECONDS
) -> AsyncIterator[None]:
    """Serves `app` while the context lasts.

    Leaving it asks clients for `notice_seconds` to leave their connections, then stops accepting and gives open requests
    `drain_seconds` to end.
    """
    config = uvicorn.Config(
        app,
        loop="none",
        http=Protocol,
        ws="none",
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
        try:
            await server.dismiss(notice_seconds)
        finally:
            server.should_exit = True
            await task
