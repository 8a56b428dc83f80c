"""The proxy spoils a link as it says, and no more than that."""

import asyncio
import time

import pytest
import pytest_asyncio

from chaos import proxy
from chaos.proxy import Proxy, Way

BRIEFLY = 1.0
"""Seconds after which silence counts as such; an answer may take longer on a busy machine."""


class Line:
    """A server that sends back what it gets, and clients that reach it through the proxy."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.ends: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.served: list[asyncio.StreamWriter] = []
        self.port = 0
        self.proxy = Proxy(lambda: ("127.0.0.1", self.port))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.served.append(writer)
        try:
            while data := await reader.read(65536):
                self.heard.append(data)
                writer.write(data)
                await writer.drain()
            self.ends.append("end")
        except ConnectionError:
            self.ends.append("reset")
        writer.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        self.writers.append(writer)
        return reader, writer

    async def asks(self, patience: float = 20.0) -> str:
        """What becomes of a question over a new connection: answered, reset, refused or silence."""
        try:
            reader, writer = await self.connect()
        except ConnectionRefusedError:
            return "refused"
        except ConnectionResetError:
            return "reset"
        return await ask(reader, writer, patience)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience: float = 20.0) -> str:
    question = b"hello"
    try:
        writer.write(question)
        async with asyncio.timeout(patience):
            answer = await reader.readexactly(len(question))
    except TimeoutError:
        return "silence"
    except (ConnectionResetError, BrokenPipeError):
        return "reset"
    except asyncio.IncompleteReadError:
        return "end"
    assert answer == question
    return "answered"


async def until(condition, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def line():
    line = Line()
    server = await asyncio.start_server(line.serve, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    yield line
    line.proxy.close()
    server.close()
    for writer in [*line.writers, *line.served]:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in [*line.writers, *line.served]), return_exceptions=True)


async def test_a_link_that_nothing_was_done_to_carries_every_byte_and_both_ends(line):
    reader, writer = await line.connect()
    body = bytes(range(256)) * 40_000
    writer.write(body)
    writer.write_eof()
    assert await reader.read() == body
    assert line.ends == ["end"]
    await until(lambda: line.proxy.connections == 0)


async def test_latency_delays_each_way_and_limits_no_bandwidth(line):
    line.proxy.latency(0.3)
    reader, writer = await line.connect()
    began = time.monotonic()
    assert await ask(reader, writer) == "answered"
    assert time.monotonic() - began >= 0.6
    began = time.monotonic()
    writer.write(bytes(3_000_000))
    await reader.readexactly(3_000_000)
    assert 0.6 <= time.monotonic() - began < 3


async def test_bandwidth_is_limited(line):
    line.proxy.bandwidth(100_000, Way.UP)
    reader, writer = await line.connect()
    began = time.monotonic()
    writer.write(bytes(50_000))
    await reader.readexactly(50_000)
    assert 0.45 <= time.monotonic() - began < 5


async def test_a_black_hole_swallows_old_and_new_connections_and_tells_nobody(line):
    old = await line.connect()
    assert await ask(*old) == "answered"
    line.proxy.black_hole()
    assert await line.asks(BRIEFLY) == "silence"
    assert await ask(*old, patience=BRIEFLY) == "silence"
    assert line.heard == [b"hello"]
    line.proxy.heal()
    assert await line.asks() == "answered"
    assert await ask(*old, patience=BRIEFLY) == "silence"
    old[1].close()
    await old[1].wait_closed()
    assert await line.asks() == "answered"
    assert line.ends == []


@pytest.mark.parametrize("way", [Way.BOTH, Way.UP, Way.DOWN])
async def test_who_listens_gives_a_silent_connection_up_and_who_connected_hears_nothing_of_it(line, way, monkeypatch):
    monkeypatch.setattr(proxy, "KEEPALIVE_SECONDS", 0.3)
    old = await line.connect()
    assert await ask(*old) == "answered"
    line.proxy.black_hole(way)
    assert line.proxy.silent_connections == 1
    line.proxy.heal()
    await until(lambda: line.ends == ["reset"])
    assert line.proxy.silent_connections == 0
    assert await ask(*old, patience=BRIEFLY) == "silence"


async def test_one_way_only_requests_arrive_and_answers_do_not(line):
    line.proxy.black_hole(Way.DOWN)
    assert await line.asks(BRIEFLY) == "silence"
    assert line.heard == [b"hello"]


async def test_one_way_only_answers_arrive_and_requests_do_not(line):
    old = await line.connect()
    assert await ask(*old) == "answered"
    line.proxy.black_hole(Way.UP)
    assert await ask(*old, patience=BRIEFLY) == "silence"
    assert line.heard == [b"hello"]
    line.served[-1].write(b"news")
    async with asyncio.timeout(5):
        assert await old[0].readexactly(4) == b"news"


async def test_what_was_held_arrives_after_the_heal(line):
    old = await line.connect()
    line.proxy.hold()
    assert await ask(*old, patience=BRIEFLY) == "silence"
    assert line.heard == []
    line.proxy.heal()
    async with asyncio.timeout(5):
        assert await old[0].readexactly(5) == b"hello"


async def test_a_reset_reaches_both_ends_and_spares_new_connections(line):
    old = await line.connect()
    assert await ask(*old) == "answered"
    line.proxy.reset()
    assert await ask(*old) == "reset"
    await until(lambda: line.ends == ["reset"])
    assert await line.asks() == "answered"


async def test_while_it_is_resetting_no_connection_carries_anything(line):
    old = await line.connect()
    line.proxy.resetting()
    assert await ask(*old) == "reset"
    assert await line.asks() == "reset"
    assert line.heard == []
    line.proxy.heal()
    assert await line.asks() == "answered"


async def test_what_refuses_has_nobody_listening_and_takes_its_port_back(line):
    old = await line.connect()
    line.proxy.refuse()
    assert await ask(*old) == "reset"
    assert await line.asks() == "refused"
    line.proxy.heal()
    assert await line.asks() == "answered"


async def test_a_reset_of_one_end_is_passed_on_and_so_is_a_target_that_is_not_there(line):
    line.port, there = 1, line.port
    assert await line.asks() == "reset"
    line.port = there
    reader, writer = await line.connect()
    assert await ask(reader, writer) == "answered"
    line.served[-1].transport.abort()
    assert await ask(reader, writer) in ("reset", "end")


@pytest.mark.parametrize("fault", ["black_hole", "hold"])
async def test_faults_add_up_until_the_heal(line, fault):
    line.proxy.latency(0.2)
    getattr(line.proxy, fault)()
    line.proxy.refuse()
    assert await line.asks() == "refused"
    line.proxy.heal()
    assert await line.asks() == "answered"
