"""A TCP proxy for one link between two parts, which spoils it on request: slow, thin, silent, one way only, reset or refused.

    with Proxy(lambda: ("127.0.0.1", port)) as link:    # the target is asked for at each connection: it may start later
        start_stack(GATEWAY_JOBS_ADDRESS=link.address)
        link.black_hole()               # or latency(0.5), bandwidth(10_000), hold(), reset(), resetting(), refuse()
        link.black_hole(Way.DOWN)       # one way only: requests arrive, answers do not
        link.heal()

Every method may be called from any thread, and returns once it is in force. Faults add up until `heal`. The proxy runs in a thread
with a loop of its own, so that a busy test does not slow it. Toxiproxy does as much, and would ask for Go on every machine that
runs `make test`.
"""

import asyncio
import enum
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import uvloop

import ports

CHUNK_BYTES = 64 * 1024

CHUNKS_ON_THE_WAY = 64
"""How much a slow link holds in one direction before it stops reading."""

KEEPALIVE_SECONDS = 60.0
"""After so long whoever listens gives a silent connection up, as PostgreSQL's keepalive does with what jobs asks of it: here the
proxy's own socket answers the probes that a dead link would swallow."""

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: to close is to send RST."""


class Way(enum.Flag):
    """A direction of a link."""

    UP = enum.auto()
    """From whoever connects to whoever listens: requests."""
    DOWN = enum.auto()
    """Back: answers."""
    BOTH = UP | DOWN


class Does(enum.Enum):
    """What a direction does with what comes."""

    FORWARD = enum.auto()
    HOLD = enum.auto()
    SWALLOW = enum.auto()
    RESET = enum.auto()


@dataclass(frozen=True)
class Condition:
    """The state of one direction."""

    does: Does = Does.FORWARD
    latency: float = 0.0
    bytes_per_second: float = float("inf")


class Proxy:
    """One link. It listens from its making to its `close`, on an address that stays the same."""

    def __init__(self, target: Callable[[], tuple[str, int]], host: str = "127.0.0.1", port: int = 0) -> None:
        """`target` says where to connect, each time that somebody connects here; port 0 is any free one."""
        self.target = target
        self.conditions = {Way.UP: Condition(), Way.DOWN: Condition()}
        self._connections: dict[_Connection, asyncio.Task[None]] = {}
        self.host = host
        self._listener = _bound(host, port or ports.any_free_port())
        self.port: int = self._listener.getsockname()[1]
        self.address = f"{host}:{self.port}"
        self._accepting = False
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy {self.port}", daemon=True)
        self._thread.start()
        self._do(self._heal())

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def latency(self, seconds: float, way: Way = Way.BOTH) -> None:
        """Each byte arrives that much later; how many arrive is not limited."""
        self._do(self._change(way, latency=seconds))

    def bandwidth(self, bytes_per_second: float, way: Way = Way.BOTH) -> None:
        """No more than that comes through, in each direction of each connection."""
        self._do(self._change(way, bytes_per_second=bytes_per_second))

    def black_hole(self, way: Way = Way.BOTH) -> None:
        """Nothing comes through, and nobody is told, not even of an end.

        Connections that lived through it stay silent for good, as behind a NAT that forgot them: `heal` helps new ones alone. Who
        listens is rid of them after KEEPALIVE_SECONDS, who connected has to notice by itself.
        """
        self._do(self._change(way, does=Does.SWALLOW))

    def hold(self, way: Way = Way.BOTH) -> None:
        """Nothing comes through until `heal`, then all of it: TCP sends again what an interrupted network lost."""
        self._do(self._change(way, does=Does.HOLD))

    def reset(self) -> None:
        """Resets every connection that is there, once; new ones are fine."""
        self._do(self._reset())

    def resetting(self) -> None:
        """Resets every connection that is there; new ones are accepted, and reset at their first byte."""
        self._do(self._change(Way.BOTH, does=Does.RESET))
        self.reset()

    def refuse(self) -> None:
        """Refuses new connections, and resets those that are there: as where the process that listened has died."""
        self._do(self._refuse())

    def heal(self) -> None:
        """All is well again, in both directions."""
        self._do(self._heal())

    @property
    def connections(self) -> int:
        """How many connections are open here."""
        return len(self._connections)

    @property
    def silent_connections(self) -> int:
        """How many of them have fallen silent, and are not given up yet by whoever listens."""
        return sum(connection.silent for connection in list(self._connections))

    def close(self) -> None:
        """Ends the proxy, and resets its connections."""
        self._do(self._refuse())
        self._listener.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(timeout=30)

    async def _change(self, way: Way, **changes: Any) -> None:
        for one in way:
            self.conditions[one] = replace(self.conditions[one], **changes)
        for connection in self._connections:
            connection.changed()

    async def _reset(self) -> None:
        ending = dict(self._connections)
        for connection, task in ending.items():
            connection.reset()
            task.cancel()
        await asyncio.gather(*ending.values(), return_exceptions=True)

    async def _refuse(self) -> None:
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = _bound(self.host, self.port)  # kept, so that nobody else gets the port; it refuses as nobody listens
        await self._reset()

    async def _heal(self) -> None:
        await self._change(Way.BOTH, **vars(Condition()))
        if not self._accepting:
            self._accepting = True
            self._listener.listen(100)
            self._loop.add_reader(self._listener, self._accept)  # a task could be cancelled with a new one in hand

    def _accept(self) -> None:
        with suppress(BlockingIOError, ConnectionAbortedError):
            client, _ = self._listener.accept()
            client.setblocking(False)
            connection = _Connection(self, client)
            task = self._connections[connection] = self._loop.create_task(connection.run())
            task.add_done_callback(lambda _, connection=connection: self._ended(connection))

    def _ended(self, connection: "_Connection") -> None:
        del self._connections[connection]
        connection.end()


class _Connection:
    """One connection of a client, and the one that is made to the target for it."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._writers: list[asyncio.StreamWriter] = []
        self._directions: list[_Direction] = []
        self._giving_up: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Carries bytes until both ends have ended, or it is reset."""
        try:
            reader, writer = await asyncio.open_connection(sock=self._client)
            self._writers = [writer]
            if self._proxy.conditions[Way.UP].does is Does.SWALLOW:  # the target never hears of it
                self._directions = [_Direction(self._proxy, Way.UP, reader, writer)]
            else:
                far_reader, far_writer = await asyncio.open_connection(*self._proxy.target())
                self._writers.append(far_writer)
                self._directions = [
                    _Direction(self._proxy, Way.UP, reader, far_writer),
                    _Direction(self._proxy, Way.DOWN, far_reader, writer),
                ]
            async with asyncio.TaskGroup() as tasks:
                for direction in self._directions:
                    tasks.create_task(direction.receive())
                    tasks.create_task(direction.deliver())
        except* OSError:
            self.reset()
        finally:
            if self._giving_up is not None:
                self._giving_up.cancel()
            for one in self._writers:
                one.close()
            for one in self._writers:
                with suppress(OSError):
                    await one.wait_closed()

    def end(self) -> None:
        """Leaves nothing open, where the run was cancelled too: before it began, or while it waited for the other end to read."""
        for one in self._writers:
            one.transport.abort()
        self._client.close()

    @property
    def silent(self) -> bool:
        """Whether nothing comes through, and whoever listens holds it still."""
        far = self._writers[1:]
        return any(direction.silent for direction in self._directions) and any(not one.transport.is_closing() for one in far)

    def reset(self) -> None:
        """Sends a RST to both ends."""
        if not self._writers:  # it has not begun: its end is what resets it
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._abort(self._writers)

    def changed(self) -> None:
        """The conditions of the link are others now."""
        for direction in self._directions:
            direction.changed()
        if self._giving_up is None and any(direction.silent for direction in self._directions):
            self._giving_up = asyncio.get_running_loop().call_later(KEEPALIVE_SECONDS, self._give_up)

    def _give_up(self) -> None:
        for direction in self._directions:
            direction.silent = True  # of this the other end hears nothing
        self._abort(self._writers[1:])

    def _abort(self, writers: list[asyncio.StreamWriter]) -> None:
        for writer in writers:
            if not writer.transport.is_closing():
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                writer.transport.abort()


class _Direction:
    """The bytes from one end of a connection to the other."""

    def __init__(self, proxy: Proxy, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._way = way
        self._reader = reader
        self._writer = writer
        self._coming: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue(CHUNKS_ON_THE_WAY)
        self.silent = False
        """Whether nothing comes through any more, for good."""
        self._open = asyncio.Event()
        self.changed()

    @property
    def _condition(self) -> Condition:
        return self._proxy.conditions[self._way]

    def changed(self) -> None:
        """The conditions of the link are others now."""
        self.silent = self.silent or self._condition.does is Does.SWALLOW
        if self._condition.does is Does.HOLD:
            self._open.clear()
        else:
            self._open.set()

    async def receive(self) -> None:
        """Takes what comes, up to its end."""
        clock = asyncio.get_running_loop().time
        chunk: bytes | None = b"-"
        while chunk:
            try:
                chunk = await self._reader.read(CHUNK_BYTES)
            except ConnectionError:
                chunk = None
            await self._coming.put((clock() + self._condition.latency, chunk))

    async def deliver(self) -> None:
        """Passes on what came, up to its end; raises OSError where an end was reset."""
        clock = asyncio.get_running_loop().time
        while True:
            due, chunk = await self._coming.get()
            await asyncio.sleep(max(0.0, due - clock()))
            await self._open.wait()
            if self.silent:
                if not chunk:
                    return
            elif chunk is None or (chunk and self._condition.does is Does.RESET) or self._writer.transport.is_closing():
                raise ConnectionResetError
            elif chunk:
                await self._write(chunk)
            else:
                self._writer.write_eof()
                return

    async def _write(self, chunk: bytes) -> None:
        while chunk:
            rate = self._condition.bytes_per_second
            size = len(chunk) if rate == float("inf") else max(1, int(rate / 20))
            self._writer.write(chunk[:size])
            await self._writer.drain()
            if rate != float("inf"):
                await asyncio.sleep(len(chunk[:size]) / rate)
            chunk = chunk[size:]


def _bound(host: str, port: int) -> socket.socket:
    """A socket that holds a port without listening yet."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setblocking(False)
    bound.bind((host, port))
    return bound
