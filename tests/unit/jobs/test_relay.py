"""The relay and the sweeper go on after an error that nobody foresaw: it would end the service again after each restart."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from jobs.bell import Ring
from jobs.relay import Relay
from jobs.sweeper import sweep
from waiting import until


class Store:
    """Fails the first time, as it would for one odd row."""

    def __init__(self) -> None:
        self.calls = 0

    async def ring(self) -> tuple[int, bool, list[Ring]]:
        self._call()
        return 1, False, [Ring("job", "request", "")]

    async def sweep(self) -> dict[str, list[Any]]:
        self._call()
        return {}

    def _call(self) -> None:
        self.calls += 1
        if self.calls == 1:
            raise RuntimeError("an odd row")


class Bell:
    """Is up, and remembers what it rang for."""

    up = True

    def __init__(self) -> None:
        self.rung: list[Ring] = []

    def ring(self, jobs: list[Ring]) -> None:
        self.rung += jobs


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, None]):
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_relay_rings_after_a_look_at_the_table_that_failed():
    store, bell = Store(), Bell()
    async with running(Relay(store, bell, 0.01).run()):
        await until(lambda: bell.rung, 20)
    assert store.calls > 1


async def test_the_sweeper_sweeps_after_a_sweep_that_failed():
    store = Store()
    async with running(sweep(store, Relay(store, Bell(), 60), 0.01, 60)):
        await until(lambda: store.calls > 2, 20)
