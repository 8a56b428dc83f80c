"""A server on this machine that answers as a test says, or not at all, and remembers what it was asked."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

PREDICTION: dict[str, Any] = {
    "id": "p1", "model": "owner/name", "version": "v", "status": "starting", "input": {}, "output": None, "logs": "",
    "error": None, "metrics": None, "created_at": None, "started_at": None, "completed_at": None, "urls": None,
}  # fmt: skip


class Stub:
    """Where it listens, and what it was asked."""

    def __init__(self, url: str, requests: list[web.Request]) -> None:
        self.url = url
        self.requests = requests

    def asked(self, method: str) -> int:
        """How many requests with this method came."""
        return sum(request.method == method for request in self.requests)


@contextlib.asynccontextmanager
async def stub(answer: Answer) -> AsyncIterator[Stub]:
    """Serves while the context lasts."""
    requests: list[web.Request] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        requests.append(request)
        return await answer(request)

    runner = web.ServerRunner(web.Server(handle, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Stub(f"http://127.0.0.1:{runner.addresses[0][1]}", requests)
    finally:
        await runner.cleanup()


async def silence(_: web.Request) -> web.StreamResponse:
    """Never answers."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


def prediction(http_status: int, **fields: Any) -> Answer:
    """Answers with a prediction."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({**PREDICTION, **fields}, status=http_status)

    return answer
