"""Natural batching: what waits while one flush is under way goes into the next one. No timer: nothing waits when all is quiet."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

SPACING = float(os.environ.get("SPACING", "0"))
Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Batcher(Generic[Item, Outcome]):
    """Collects items from concurrent callers and flushes them together; each caller gets its own item's outcome.

    `flush` gets 1 to `limit` items and returns as many outcomes in their order, or raises; an outcome that is an exception is
    raised to its caller alone. A caller that is cancelled stops waiting, but its item is flushed all the same: callers never
    cancel a flush. With `key`, items of equal key never share a flush; the later one waits for the next.
    """

    def __init__(
        self,
        flush: Callable[[list[Item]], Awaitable[Sequence[Outcome | Exception]]],
        *,
        limit: int = 256,
        lanes: int = 1,
        key: Callable[[Item], Hashable] | None = None,
    ) -> None:
        """`lanes` is how many flushes may be under way at once."""
        self._flush = flush
        self._limit = limit
        self._next = 0.0
        self._lanes = lanes
        self._key = key
        self._waiting: list[tuple[Item, asyncio.Future[Outcome]]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._busy: set[Hashable] = set()

    async def submit(self, item: Item) -> Outcome:
        """Hands the item to a flush and returns its outcome. Raises what the flush raised for it."""
        return await self._enqueue(item)

    async def submit_all(self, items: Iterable[Item]) -> list[Outcome]:
        """As `submit` of each, without a task for each. Raises the first exception that there is."""
        return await asyncio.gather(*[self._enqueue(item) for item in items])

    def _enqueue(self, item: Item) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._start()
        return future

    def _start(self) -> None:
        if len(self._running) < self._lanes and self._waiting:
            task = asyncio.create_task(self._drain())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _take(self) -> list[tuple[Item, asyncio.Future[Outcome]]]:
        if self._key is None:
            taken, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            return taken
        taken, left = [], []
        for entry in self._waiting:
            key = self._key(entry[0])
            if len(taken) < self._limit and key not in self._busy:
                self._busy.add(key)
                taken.append(entry)
            else:
                left.append(entry)
        self._waiting = left
        return taken

    async def _pace(self) -> None:
        now = time.monotonic()
        at = max(now, self._next)
        self._next = at + SPACING
        await asyncio.sleep(at - now)

    async def _drain(self) -> None:
        await self._pace()
        while batch := self._take():
            try:
                outcomes = await self._flush([item for item, _ in batch])
                if len(outcomes) != len(batch):
                    raise RuntimeError(f"{len(outcomes)} outcomes for a batch of {len(batch)}")
            except Exception as error:
                outcomes = [error] * len(batch)
            finally:
                if self._key is not None:
                    self._busy.difference_update(self._key(item) for item, _ in batch)
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                if future.done():
                    continue
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)
            # An exception knows this frame by its traceback: kept here, it and all that its callers hold would be a cycle.
            del outcomes, outcome, future
            if self._waiting:
                await self._pace()
        # Here and not in a callback: a caller that runs before that and submits again would wait for a flush that nobody starts.
        self._running.discard(asyncio.current_task())
