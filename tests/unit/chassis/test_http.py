"""Connections that clients keep."""

import asyncio
from typing import Any

from chassis.http import serving
from chassis.settings import HostPort
from ports import any_free_port
from waiting import holds

IDLE_SECONDS = 6.0
"""Longer than uvicorn itself would keep an idle connection."""


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def test_an_idle_connection_is_not_closed_under_a_balancer_that_is_about_to_use_it():
    port = any_free_port()
    async with serving(app, HostPort("127.0.0.1", port), drain_seconds=1):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: tests\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
            await holds(lambda: not reader.at_eof(), IDLE_SECONDS, what="the connection is open")
        writer.close()
