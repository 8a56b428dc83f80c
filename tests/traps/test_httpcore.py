"""R13: cancelled requests and pools of connections."""

import asyncio
import contextlib
import time

import aiohttp
import httpx
import pytest
from aiohttp import web

from traps.stub import Stub, stub

PLACES = 4
"""Connections of the pools here."""


async def hello(_: web.Request) -> web.StreamResponse:
    return web.Response(text="hello")


async def cancelled_under_contention(get: "httpx.AsyncClient | aiohttp.ClientSession", at: Stub, seconds: float) -> None:
    """Requests from five times as many tasks as there are places, each cancelled before long, at ever another moment."""
    until = time.monotonic() + seconds

    async def churn(number: int) -> None:
        for turn in range(100_000):
            if time.monotonic() > until:
                return
            task = asyncio.create_task(one())
            await asyncio.sleep((number * 7 + turn) % 13 / 2000)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def one() -> None:
        if isinstance(get, httpx.AsyncClient):
            await get.get(at.url)
        else:
            async with get.get(at.url) as response:
                await response.read()

    await asyncio.gather(*(churn(number) for number in range(5 * PLACES)))


async def test_r13_cancelled_requests_use_up_the_pool_of_httpx_for_ever() -> None:
    """httpcore (1.0.9) forgets the place of a request that is cancelled between getting its connection and connecting it.

    No service uses httpx (see test_replicate.py). Where this fails because the pool recovered, httpcore has mended its issue 1093;
    what the tests' own clients may do then grows, and nothing else changes.
    """
    limits = httpx.Limits(max_connections=PLACES, max_keepalive_connections=0)
    async with stub(hello) as at, httpx.AsyncClient(limits=limits, timeout=httpx.Timeout(5, pool=0.5)) as client:
        for _ in range(20):
            await cancelled_under_contention(client, at, seconds=0.5)
            answers = await asyncio.gather(*(client.get(at.url) for _ in range(2 * PLACES)), return_exceptions=True)
            if all(isinstance(answer, httpx.PoolTimeout) for answer in answers):
                break
        else:
            pytest.fail("the pool of httpx survives cancelled requests now")
        with pytest.raises(httpx.PoolTimeout):  # though nobody asks for anything any more
            await client.get(at.url)


async def test_r13_cancelled_requests_leave_the_pool_of_aiohttp_whole() -> None:
    """The generator cancels reads and downloads when a job is lost, and in a drain; its connections are aiohttp's.

    Where this fails, aiohttp leaks as httpcore does: reads of Replicate stop for ever once their 32 places are gone. Pin aiohttp
    to the version before, or shield every request from cancellation.
    """
    connector = aiohttp.TCPConnector(limit=PLACES)
    async with stub(hello) as at, aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=10)) as session:
        await cancelled_under_contention(session, at, seconds=2)
        together = asyncio.Barrier(PLACES)

        async def held() -> None:
            async with session.get(at.url) as response:
                await response.read()
                async with asyncio.timeout(10):
                    await together.wait()  # every place is in use at the same time, so every one is there

        with contextlib.suppress(asyncio.BrokenBarrierError):
            await asyncio.gather(*(held() for _ in range(PLACES)))
        assert not together.broken
