"""The load generator's HTTP."""

import asyncio

import pytest

from bench.load import Load, loaded, percentiles
from bench.wire import SENT, Asking, Connection, requests


def test_requests_differ_in_paths_and_keys_and_say_when_they_were_sent():
    made = requests("POST", ["/a"], ["k1", "k2"], f'{{"prompt": "sent at {SENT}"}}')
    first, second = (request.at(1732650000.5) for request in made)
    assert b"Bearer k1" in first and b"Bearer k2" in second
    head, _, body = first.partition(b"\r\n\r\n")
    assert body == b'{"prompt": "sent at 1732650000.500000"}'
    assert f"Content-Length: {len(body)}".encode() in head
    assert [request.at(1) for request in requests("GET", ["/a", "/b"], [], "")] == [
        f"GET /{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n".encode() for path in "ab"
    ]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_an_answer_may_come_in_pieces(cut):
    answers = []
    connection = Connection(lambda _, status, body: answers.append((status, body)))
    answer = b"HTTP/1.1 202 Accepted\r\ncontent-type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
    connection.data_received(answer[:cut])
    assert answers == []
    connection.data_received(answer[cut:])
    assert answers == [(202, b"hello")]


def test_percentiles_are_milliseconds():
    assert percentiles([n / 1000 for n in range(100)]) == {"p50": 50.0, "p90": 90.0, "p99": 99.0}
    assert percentiles([]) == {}


async def serve(status: bytes):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 2\r\n\r\nok")
            await writer.drain()

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    return await asyncio.start_server(quietly, "127.0.0.1", 0)


@pytest.mark.parametrize("rate", [0.0, 200.0])
async def test_a_load_counts_what_was_answered_within_its_time(rate):
    async with await serve(b"200 OK") as server:
        port = server.sockets[0].getsockname()[1]
        load = Load(port, ["/a", "/b"], clients=4, rate=rate, seconds=0.5, warm_up=0.1)
        events = [event async for event, _ in loaded(load)]
        assert [event["event"] for event in events] == ["begin", "end", "seen"]
        seen = events[-1]
        assert 0 < seen["answers"] <= seen["statuses"]["200"]
        assert not rate or 50 < seen["answers"] < 160
        assert seen["latency"]["p50"] > 0
        asking = Asking(port)
        assert await asking(requests("GET", ["/"], [], "")[0]) == (200, b"ok")
        asking.close()


async def test_an_answer_that_is_none_of_2xx_fails_the_load():
    async with await serve(b"429 Too Many Requests") as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(RuntimeError, match="429"):
            async for _ in loaded(Load(port, ["/"], clients=1, seconds=0.2, warm_up=0.0)):
                pass
