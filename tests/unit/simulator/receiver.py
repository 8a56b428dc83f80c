"""A receiver of webhooks: a real HTTP server that keeps what arrives, and answers as it is told."""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chassis.http import serving
from chassis.settings import HostPort
from waiting import until


@dataclass
class Arrival:
    """One request that arrived."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    """When, in seconds since 1970."""

    @property
    def prediction(self) -> dict[str, Any]:
        prediction: dict[str, Any] = json.loads(self.body)
        return prediction

    @property
    def status(self) -> str:
        status: str = self.prediction["status"]
        return status


@dataclass
class Receiver:
    """What arrived, and `answer`: what the next request gets."""

    url: str
    arrivals: list[Arrival] = field(default_factory=list)
    answer: Callable[[Arrival], Response] = lambda _: Response()

    def of(self, path: str) -> list[Arrival]:
        return [arrival for arrival in self.arrivals if arrival.path == path]

    @property
    def statuses(self) -> list[str]:
        return [arrival.status for arrival in self.arrivals]

    async def until(self, count: int, seconds: float = 30) -> list[Arrival]:
        """Waits until so many requests arrived."""
        await until(lambda: len(self.arrivals) >= count, seconds, what=f"{count} webhooks arrived")
        return self.arrivals


@asynccontextmanager
async def receiving(port: int) -> AsyncIterator[Receiver]:
    """A receiver on that port of loopback, for as long as the context lasts."""
    receiver = Receiver(f"http://127.0.0.1:{port}")

    async def arrive(request: Request) -> Response:
        arrival = Arrival(request.url.path, dict(request.headers), await request.body(), time.time())
        receiver.arrivals.append(arrival)
        return receiver.answer(arrival)

    app = Starlette(routes=[Route("/{path:path}", arrive, methods=["GET", "POST"])])
    async with serving(app, HostPort("127.0.0.1", port), notice_seconds=0, drain_seconds=1):
        yield receiver
