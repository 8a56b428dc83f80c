"""Connections that clients keep."""

import asyncio
from typing import Any

import pytest

from chassis import http
from chassis.http import HELD_BYTES, Together, serving
from chassis.settings import HostPort
from ports import any_free_port
from waiting import holds

IDLE_SECONDS = 6.0
"""Longer than uvicorn itself would keep an idle connection."""

REQUEST = b"GET / HTTP/1.1\r\nHost: tests\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def test_an_idle_connection_is_not_closed_under_a_balancer_that_is_about_to_use_it():
    port = any_free_port()
    async with serving(app, HostPort("127.0.0.1", port), notice_seconds=0, drain_seconds=1):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(REQUEST)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
            await holds(lambda: not reader.at_eof(), IDLE_SECONDS, what="the connection is open")
        writer.close()


async def test_clients_are_asked_to_leave_before_their_connections_are_closed():
    """A request that is sent while its connection is closed gets no answer; so each client is told when to open another one."""
    port = any_free_port()
    async with serving(app, HostPort("127.0.0.1", port), notice_seconds=30, drain_seconds=1):
        clients = [asyncio.create_task(asks_until_told_to_leave(*await connected(port))) for _ in range(10)]
    await asyncio.gather(*clients)


async def asks_until_told_to_leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Fails with IncompleteReadError or a ConnectionError where the connection ends before that."""
    answer = b""
    while b"connection: close" not in answer.lower():
        writer.write(REQUEST)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 204")
        await asyncio.sleep(0.01)
    assert await reader.read() == b""
    writer.close()


async def test_who_does_not_leave_does_not_hold_up_the_end():
    port = any_free_port()
    async with serving(app, HostPort("127.0.0.1", port), notice_seconds=0.5, drain_seconds=1):
        reader, writer = await connected(port)
    assert await reader.read() == b""
    writer.close()


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that had an answer, and is kept."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    answer = await reader.readuntil(b"\r\n\r\n")
    assert b"connection: close" not in answer.lower()
    return reader, writer


class Wire(asyncio.Transport):
    """A connection that notes its packets."""

    def __init__(self) -> None:
        super().__init__()
        self.packets: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.packets.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


async def test_what_is_written_in_one_turn_of_the_loop_is_one_packet():
    wire = Wire()
    together = Together(wire)
    together.write(b"head ")
    together.write(b"body")
    assert wire.packets == []
    await asyncio.sleep(0)
    together.write(b"next")
    await asyncio.sleep(0)
    assert wire.packets == [b"head body", b"next"]


async def test_an_answer_goes_out_with_its_head(monkeypatch: pytest.MonkeyPatch):
    packets: list[list[Any]] = []

    class Noted(Together):
        def _flush(self) -> None:
            packets.append(list(self._held))
            super()._flush()

    async def words(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"words"})

    monkeypatch.setattr(http, "Together", Noted)
    port = any_free_port()
    async with serving(words, HostPort("127.0.0.1", port), notice_seconds=0, drain_seconds=1):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        await reader.readuntil(b"words")
        writer.close()
    [(head, body)] = [packet for packet in packets if packet]
    assert (head[:15], body) == (b"HTTP/1.1 200 OK", b"words")


async def test_what_is_much_is_not_held():
    wire = Wire()
    together = Together(wire)
    together.write(b"head ")
    together.write(b"x" * HELD_BYTES)
    assert [len(packet) for packet in wire.packets] == [5 + HELD_BYTES]
    await asyncio.sleep(0)
    assert len(wire.packets) == 1


async def test_a_connection_sends_what_was_written_before_it_closes_and_nothing_once_its_client_has_gone():
    wire = Wire()
    together = Together(wire)
    together.write(b"last words")
    together.close()
    assert (wire.packets, wire.closed, together.is_closing()) == ([b"last words"], True, True)
    together.write(b"to nobody")
    await asyncio.sleep(0)
    assert wire.packets == [b"last words"]
