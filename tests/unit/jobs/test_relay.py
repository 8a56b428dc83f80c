"""When the relay looks at the table; and that it and the sweeper go on after an error that nobody foresaw."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from jobs.bell import Ring
from jobs.relay import Relay
from jobs.sweeper import sweep
from waiting import until


class Store:
    """Fails the first time, as it would for one odd row."""

    def __init__(self) -> None:
        self.calls = 0

    async def ring(self, *, heard: bool) -> tuple[int, bool, list[Ring]]:
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


class Table:
    """Answers every look alike, and counts them."""

    def __init__(self, credit: int, *, backlog: bool) -> None:
        self.answer = credit, backlog, list[Ring]()
        self.looks = 0
        self.heard = True

    async def ring(self, *, heard: bool) -> tuple[int, bool, list[Ring]]:
        self.looks += 1
        self.heard = heard
        return self.answer


@contextlib.asynccontextmanager
async def looking(table: Table):
    """A relay that has looked once, and looks again only if it is woken."""
    relay = Relay(table, Bell(), 60)
    async with running(relay.run()):
        relay.wake()
        await until(lambda: table.looks == 1)
        yield relay


async def looks_after(table: Table, wake: Callable[[], None]) -> int:
    """How often the table was looked at, once the relay had every chance to."""
    wake()
    for _ in range(10):
        await asyncio.sleep(0)
    return table.looks


async def test_while_there_is_credit_a_claim_is_no_reason_for_a_look():
    table = Table(credit=2, backlog=False)
    async with looking(table) as relay:
        assert await looks_after(table, relay.wake_for_room) == 1
        assert relay.take_credit(3).jobs == 2
        assert await looks_after(table, relay.wake_for_room) == 2


async def test_where_there_was_no_room_a_new_job_is_no_reason_for_a_look_and_a_claim_is():
    table = Table(credit=0, backlog=True)
    async with looking(table) as relay:
        assert await looks_after(table, relay.wake_for_more) == 1
        assert await looks_after(table, relay.wake_for_room) == 2


async def test_a_new_job_beyond_the_credit_is_looked_for_where_all_that_was_due_found_room():
    table = Table(credit=0, backlog=False)
    async with looking(table) as relay:
        assert await looks_after(table, relay.wake_for_more) == 2


async def test_credit_comes_back_for_what_was_begun_unless_a_look_came_between():
    table = Table(credit=5, backlog=False)
    async with looking(table) as relay:
        relay.return_credit(relay.take_credit(5), 5)
        assert relay.take_credit(9).jobs == 5
        table.answer = 0, True, []
        taken = relay.take_credit(0)
        assert await looks_after(table, relay.wake) == 2
        relay.return_credit(taken, 5)
        assert relay.take_credit(1).jobs == 0


async def test_what_nobody_would_hear_of_is_not_rung_for_and_not_looked_for_again_and_again():
    table = Table(credit=5, backlog=True)
    bell = Bell()
    bell.up = False
    relay = Relay(table, bell, 60)
    async with running(relay.run()):
        relay.wake()
        await until(lambda: table.looks == 1)
        assert await looks_after(table, relay.wake_for_more) == 1
        assert (table.heard, relay.heard, relay.take_credit(1).jobs) == (False, False, 0)
        # A job that is due before it waits for a claim: nothing newer may begin, whatever was known before.
        table.answer = 5, False, []
        assert await looks_after(table, relay.wake) == 2
        taken = relay.take_credit(1)
        relay.wake_for_more()
        relay.return_credit(taken, 1)
        assert (taken.jobs, relay.take_credit(1).jobs) == (1, 0)


async def test_the_sweeper_sweeps_after_a_sweep_that_failed():
    store = Store()
    async with running(sweep(store, Relay(store, Bell(), 60), 0.01)):
        await until(lambda: store.calls > 2, 20)
