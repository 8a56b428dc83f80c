"""Waiting in tests: for a condition, with a deadline, and for as long as one has to hold. No test sleeps and hopes.

`until` and `wait_until` return what the condition returned once that is true, and fail with its last value where it never is.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Value = TypeVar("Value")

POLL_SECONDS = 0.05


async def until(condition: Callable[[], Value | Awaitable[Value]], seconds: float = 20, *, what: str = "") -> Value:
    """The condition's first true value; it may be a coroutine function. `what` says in the failure what was waited for."""
    deadline = time.monotonic() + seconds
    while not (value := await _value(condition)):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or condition} (last: {value!r})"
        await asyncio.sleep(POLL_SECONDS)
    return value


async def holds(condition: Callable[[], object | Awaitable[object]], seconds: float, *, what: str = "") -> None:
    """Fails unless the condition is true all the time, for that long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert await _value(condition), f"does not hold: {what or condition}"
        await asyncio.sleep(POLL_SECONDS)


def wait_until(condition: Callable[[], Value], seconds: float = 20, *, what: str = "") -> Value:
    """As `until`, where no loop runs."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or condition} (last: {value!r})"
        time.sleep(POLL_SECONDS)
    return value


async def _value(condition: Callable[[], Value | Awaitable[Value]]) -> Value:
    value = condition()
    return await value if inspect.isawaitable(value) else value
