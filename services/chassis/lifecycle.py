"""How a service starts, runs its background work, and stops on SIGTERM."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Self

import structlog
import uvloop

from chassis import failpoints

log = structlog.get_logger()

YOUNG_OBJECTS = 10_000
"""So many more objects made than freed let the garbage collector look through the young ones."""


class StartupError(Exception):
    """What a service needs is not there; its message is the one line that the operator reads."""


def run(main: Callable[[], Awaitable[int | None]]) -> None:
    """Runs a service to its end on uvloop and exits: with main's code, or with one line and code 2 where it could not start.

    What nobody foresaw is a line of the log like any other, and code 1. A service that is told to end while it still starts has
    nothing to finish, and ends with code 0.
    """

    async def guarded() -> int | None:
        return await main()

    try:
        _arm_failpoints()
        code = uvloop.run(guarded())
    except StartupError as error:
        print(error, file=sys.stderr)  # noqa: T201  for the operator's terminal, before anything else is there
        code = 2
    except asyncio.CancelledError:
        code = 0
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        log.critical("service.failed", exc_info=error)
        code = 1
    sys.exit(code)


def _arm_failpoints() -> None:
    """What a test wants to happen to this process; nobody else sets the variable."""
    try:
        failpoints.arm(os.environ.get(failpoints.VARIABLE, ""))
    except ValueError as error:
        raise StartupError(f"{failpoints.VARIABLE} {error}") from None


def _spare_the_collector() -> None:
    """What a start leaves behind stays for good, so that the garbage collector need not look at it again and again.

    It looks for cycles among the young objects less often, too: requests make many objects and few cycles, and it took a tenth of a
    gateway's CPU (gc.freeze and the threshold of 700 are told of in the documentation of Python's gc).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


class Lifecycle:
    """The life of one service: SIGTERM and SIGINT set `stopping`; the death of a background task stops the service with code 1.

    Used as an async context manager; leaving it cancels the background tasks that are left, the newest first. Until the service
    calls `until_stopped` it is starting, and a signal cancels what it waits for: a database that is away must not hold up its end.
    """

    def __init__(self) -> None:
        """Nothing happens before the context is entered."""
        self.stopping = asyncio.Event()
        self.exit_code = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._starting: asyncio.Task[Any] | None = None

    async def __aenter__(self) -> Self:
        """Takes over SIGTERM and SIGINT."""
        self._starting = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_end)
        return self

    def _asked_to_end(self) -> None:
        self.stopping.set()
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None

    async def until_stopped(self) -> None:
        """The service has started: waits until it is to end."""
        self._starting = None
        _spare_the_collector()
        await self.stopping.wait()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Runs `work` in the background until it ends, or the service does. An exception in it is fatal, never silent."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("service.task_died", task=task.get_name(), exc_info=error)
            self.exit_code = 1
            self.stopping.set()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Cancels what still runs in the background and waits for it."""
        self._starting = None
        self.stopping.set()
        for task in reversed(self._tasks):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
