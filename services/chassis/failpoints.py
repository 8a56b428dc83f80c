"""Failpoints: named instants at which a test lets a process die, freeze or fail. Unarmed, one costs a look at an empty dict.

They are armed by the environment variable MEDIAGEN_FAILPOINTS alone, which is for tests: `name=action` with commas between, where
the action is `kill` (SIGKILL to itself), `stop` (SIGSTOP to itself) or `raise` (FailpointError), and `action@3` strikes at the
third time that the process comes by. Each strikes once, and says so in a log line before it does.
"""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import structlog

log = structlog.get_logger()

VARIABLE = "MEDIAGEN_FAILPOINTS"
"""The environment variable that arms them."""

_FORM = re.compile(r"(?P<name>[a-z_]+(?:\.[a-z_]+)+)=(?P<action>kill|stop|raise)(?:@(?P<hit>[1-9]\d{0,5}))?")


class FailpointError(Exception):
    """What an armed failpoint raises; its message is the failpoint's name."""


@dataclass
class _Armed:
    action: str
    hits_left: int


_armed: dict[str, _Armed] = {}


def arm(text: str) -> None:
    """Arms what `text` names, in place of all that was armed before. Raises ValueError, and changes nothing, where it is wrong."""
    armed: dict[str, _Armed] = {}
    for part in filter(None, text.split(",")):
        match = _FORM.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"must be name=kill, name=stop or name=raise, with commas between, not {part!r}")
        if match["name"] in armed:
            raise ValueError(f"names {match['name']} twice")
        armed[match["name"]] = _Armed(match["action"], int(match["hit"] or 1))
    _armed.clear()
    _armed.update(armed)


def failpoint(name: str) -> None:
    """The instant called `name`. Nothing happens unless a test armed it: then the process dies, freezes, or this raises."""
    if _armed:
        _reached(name)


def failpoint_within(name: str, seconds: float) -> AbstractAsyncContextManager[None]:
    """The instant called `name` comes `seconds` after the context was entered, if it lasts: in the midst of a library's call.

    Where `raise` strikes, whatever the context waits for is cancelled, and FailpointError leaves the context.
    """
    return _reached_within(name, seconds) if _armed else _NOTHING


_NOTHING = contextlib.nullcontext()


@contextlib.asynccontextmanager
async def _reached_within(name: str, seconds: float) -> AsyncIterator[None]:
    loop, task, raised = asyncio.get_running_loop(), asyncio.current_task(), list[FailpointError]()
    assert task is not None

    def strike() -> None:
        try:
            _reached(name)
        except FailpointError as error:
            raised.append(error)
            task.cancel()

    timer = loop.call_later(seconds, strike)
    try:
        yield
    except asyncio.CancelledError:
        if not raised:
            raise
        task.uncancel()
        raise raised[0] from None
    finally:
        timer.cancel()


def _reached(name: str) -> None:
    armed = _armed.get(name)
    if armed is None:
        return
    armed.hits_left -= 1
    if armed.hits_left > 0:
        return
    del _armed[name]
    log.critical("failpoint.reached", failpoint=name, action=armed.action)  # flushed at once, as handlers of logging do
    match armed.action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case _:
            raise FailpointError(name)
