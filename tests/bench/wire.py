"""HTTP/1.1 as a load generator needs it: one request at a time on a kept connection; of the answer, status and body alone."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

SENT = "{sent}"
"""Where a request's body has this, the time of its sending is put: whoever works on the job can tell how long it took."""


class Connection(asyncio.Protocol):
    """One connection to a server on this machine."""

    def __init__(self, answered: Callable[["Connection", int, bytes], None]) -> None:
        """`answered` gets each answer's status and body; status 0 means that the connection was lost instead."""
        self._answered = answered
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._waits = False
        self.asked_at = 0.0
        """When the request under way was sent, by time.perf_counter; whoever asks may set it earlier."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As asyncio calls it."""
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes) -> None:
        """Sends a request."""
        assert self._transport is not None
        self._waits = True
        self.asked_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """As asyncio calls it."""
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        length = head.find(b"\r\ncontent-length:")
        size = int(head[length + 17 :].partition(b"\r\n")[0]) if length >= 0 else 0
        if len(self._buffer) < end + 4 + size:
            return
        status, body = int(head[9:12]), self._buffer[end + 4 : end + 4 + size]
        self._buffer, self._waits = b"", False
        self._answered(self, status, body)

    def connection_lost(self, error: Exception | None) -> None:
        """As asyncio calls it."""
        if self._waits:
            self._waits = False
            self._answered(self, 0, b"")

    def close(self) -> None:
        """Ends it."""
        if self._transport is not None:
            self._transport.close()


async def connect(port: int, answered: Callable[[Connection, int, bytes], None]) -> Connection:
    """A connection to a port of this machine."""
    _, connection = await asyncio.get_running_loop().create_connection(lambda: Connection(answered), "127.0.0.1", port)
    return connection


@dataclass(frozen=True)
class Request:
    """A request's bytes, in two parts where a time belongs between them."""

    before: bytes
    after: bytes | None

    def at(self, sent: float) -> bytes:
        """The bytes to send; `sent` is in seconds since 1970."""
        return self.before if self.after is None else b"%b%.6f%b" % (self.before, sent, self.after)


def requests(method: str, paths: Sequence[str], keys: Sequence[str], body: str) -> list[Request]:
    """One request for each path and each key in turn, as many as there are of whichever is more."""
    made = []
    length = len(body.replace(SENT, f"{time.time():.6f}"))
    for number in range(max(len(paths), len(keys))):
        lines = [f"{method} {paths[number % len(paths)]} HTTP/1.1", "Host: 127.0.0.1", "Accept: */*"]
        if keys:
            lines.append(f"Authorization: Bearer {keys[number % len(keys)]}")
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {length}"]
        before, stamped, after = ("\r\n".join(lines) + "\r\n\r\n" + body).partition(SENT)
        made.append(Request(before.encode(), after.encode() if stamped else None))
    return made


class Asking:
    """Requests one after the other, for who wants to read the answers."""

    def __init__(self, port: int) -> None:
        """Connects with the first request."""
        self._port = port
        self._connection: Connection | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    async def __call__(self, request: Request) -> tuple[int, bytes]:
        """Status and body of the answer."""
        self._connection = self._connection or await connect(self._port, self._answered)
        self._answer = asyncio.get_running_loop().create_future()
        self._connection.ask(request.at(time.time()))
        return await self._answer

    def _answered(self, _: Connection, status: int, body: bytes) -> None:
        assert self._answer is not None
        self._answer.set_result((status, body))

    def close(self) -> None:
        """Ends the connection."""
        if self._connection is not None:
            self._connection.close()
