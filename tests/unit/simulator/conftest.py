"""A real simulator on free ports, in the loop of the tests."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from chassis.http import serving
from chassis.settings import HostPort
from simulator.account import Account
from simulator.api import create_app
from simulator.files import create_files_app
from simulator.library import Library
from simulator.settings import Settings
from waiting import until

from .receiver import Receiver, receiving

SCHNELL = "black-forest-labs/flux-schnell"


@dataclass
class Running:
    """A simulator that runs, and a client with a token."""

    account: Account
    url: str
    client: httpx.AsyncClient

    async def create(self, prompt: str = "a fox", **values: Any) -> httpx.Response:
        body = {"version": values.pop("version", SCHNELL), "input": {"prompt": prompt, **values}}
        return await self.client.post("/v1/predictions", json=body)

    async def told(self, webhook: str, *events: str, prompt: str = "a fox", version: str = SCHNELL) -> httpx.Response:
        """A create with a webhook, for these events; without any for those of the default."""
        body: dict[str, Any] = {"version": version, "input": {"prompt": prompt}, "webhook": webhook}
        return await self.client.post("/v1/predictions", json=body | ({"webhook_events_filter": events} if events else {}))

    async def deliveries(self, created: httpx.Response, count: int, seconds: float = 30) -> list[dict[str, Any]]:
        """What the ledger tells of a prediction's webhook, once so many requests were answered or given up."""

        async def rows() -> list[dict[str, Any]]:
            return {row["id"]: row["deliveries"] for row in (await self.ledger())["predictions"]}[created.json()["id"]]

        async def answered() -> bool:
            return len([row for row in await rows() if row["answer"] is not None]) >= count

        await until(answered, seconds, what=f"{count} webhooks were answered")
        return await rows()

    async def prediction(self, created: httpx.Response | str) -> dict[str, Any]:
        prediction_id = created if isinstance(created, str) else created.json()["id"]
        found: dict[str, Any] = (await self.client.get(f"/v1/predictions/{prediction_id}")).json()
        return found

    async def finished(self, created: httpx.Response | str, seconds: float = 20) -> dict[str, Any]:
        async def ended() -> dict[str, Any] | None:
            found = await self.prediction(created)
            return found if found["completed_at"] is not None else None

        found = await until(ended, seconds, what="the prediction is finished")
        assert found is not None
        return found

    async def faults(self, *rules: dict[str, Any]) -> dict[str, Any]:
        answer = await self.client.put("/control/faults", json={"rules": rules})
        assert answer.status_code == 200, answer.text
        active: dict[str, Any] = answer.json()
        return active

    async def ledger(self) -> dict[str, Any]:
        ledger: dict[str, Any] = (await self.client.get("/control/ledger")).json()
        return ledger


Start = Callable[..., Awaitable[Running]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Account]:
    """A simulator with these settings, for as long as the context lasts."""
    listen, files_listen = (HostPort("127.0.0.1", free_port()) for _ in range(2))
    quick = {"control": True, "predict_seconds": 0.1, "queue_seconds": 0.05, **settings}
    account, library = Account(Settings(listen=listen, files_listen=files_listen, **quick)), Library()
    async with AsyncExitStack() as stack:
        for app, at in ((create_files_app(account, library), files_listen), (create_app(account, library), listen)):
            await stack.enter_async_context(serving(app, at, notice_seconds=0, drain_seconds=1))
        webhooks = asyncio.create_task(account.webhooks.run())
        yield account
        webhooks.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await webhooks
    library.close()


@asynccontextmanager
async def connected(account: Account) -> AsyncIterator[Running]:
    """A client of its own for a simulator that runs."""
    url = f"http://{account.settings.listen}"
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": "Bearer r8_test"}, timeout=10) as client:
        yield Running(account, url, client)


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts simulators with settings of their own; they end with the test."""
    async with AsyncExitStack() as stack:

        async def started(**settings: Any) -> Running:
            account = await stack.enter_async_context(running(**settings))
            return await stack.enter_async_context(connected(account))

        yield started


@pytest.fixture(scope="session")
async def shared_account() -> AsyncIterator[Account]:
    """One simulator for all tests that need no settings of their own."""
    async with running() as account:
        yield account


@pytest.fixture
async def simulator(shared_account: Account) -> AsyncIterator[Running]:
    """A quick simulator with nothing in it."""
    shared_account.reset()
    async with connected(shared_account) as simulator:
        yield simulator


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Somebody to send webhooks to."""
    async with receiving(free_port()) as receiver:
        yield receiver
