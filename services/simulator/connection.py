"""The TCP connection under a request, for what HTTP has no word for: a reset, or a body that ends too early."""

import asyncio
import socket
import struct

from starlette.types import ASGIApp, Receive, Scope, Send


class Connection:
    """The connection of one request."""

    def __init__(self, transport: asyncio.Transport) -> None:
        """Over the transport that uvicorn answers the request on."""
        self._transport = transport

    @property
    def open(self) -> bool:
        """Whether the client is still there, as far as is known."""
        return not self._transport.is_closing()

    def reset(self) -> None:
        """Ends it at once with a RST: the other side sees `connection reset by peer`, and nothing that was not sent yet."""
        if not self.open:
            return
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def hang_up(self, rest: bytes = b"") -> None:
        """Ends it in good order after what was sent so far, and after `rest`, which no answer promised."""
        if rest and self.open:
            self._transport.write(rest)
        self._transport.close()


class HungUp:
    """A response that is none: the connection ends without an answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Resets the connection, and waits until uvicorn knows; it would complain about a missing answer otherwise."""
        connection_of(scope).reset()
        await gone(receive)


async def gone(receive: Receive) -> None:
    """Waits until the connection is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def connection_of(scope: Scope) -> Connection:
    """The request's connection, which `with_connections` put into its scope."""
    connection: Connection = scope["extensions"]["simulator"]
    return connection


def with_connections(app: ASGIApp) -> ASGIApp:
    """Wraps the application so that `connection_of` works. ASGI hides the transport; uvicorn's `send` is a method that has it."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        connection = Connection(send.__self__.transport)  # type: ignore[attr-defined]
        scope["extensions"] = {"simulator": connection}
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            # Only the end of the process cancels requests: those that still wait, such as late creates, are let go.
            connection.reset()
            await gone(receive)

    return wrapped
