"""Natural batching: what waits while one flush is under way goes into the next one. Nothing waits when all is quiet."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


ENOUGH = 16
"""A flush of so many is worth its cost: it does not wait for more."""

SHARED, ALONE = 1.25, 2.0
"""Items in a flush, on average: from the first on others are likely to come soon, and flushes are paced; below the second, although
they are paced, few come, and waiting for them is not worth it."""

WEIGHT = 1 / 8
"""Of the last flush in that average."""


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
        pace: float = 0.0,
    ) -> None:
        """`lanes` is how many flushes may be under way at once.

        Where items come all the time, a flush begins no sooner than `pace` seconds after the one before, unless ENOUGH wait: what a
        flush costs is shared by more, and a machine that has much to do gets through with it sooner. One item after the other, as
        of a single client, is never paced, however fast they come.
        """
        self._flush = flush
        self._limit = limit
        self._lanes = lanes
        self._key = key
        self._pace = pace
        self._size = 1.0
        self._paced = False
        self._flushed_at = 0.0
        self._joining = False
        self._enough = asyncio.Event()
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
        if len(self._waiting) >= ENOUGH:
            self._enough.set()
        self._start()
        return future

    def _start(self) -> None:
        if len(self._running) < self._lanes and self._waiting and not self._joining:
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

    async def _next(self) -> list[tuple[Item, asyncio.Future[Outcome]]]:
        """What the next flush takes. Whoever is ready in this turn of the loop joins it; where flushes are paced, whoever comes."""
        self._joining = True
        await asyncio.sleep(0)
        pause = self._flushed_at + self._pace - time.monotonic() if self._paced else 0.0
        if pause > 0 and len(self._waiting) < ENOUGH:
            self._enough.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._enough.wait()
        self._joining = False
        batch = self._take()
        if batch and self._pace:
            self._flushed_at = time.monotonic()
            self._size += (len(batch) - self._size) * WEIGHT
            self._paced = self._size >= (ALONE if self._paced else SHARED)
        if batch:
            self._start()  # what was beyond the limit goes with another lane
        return batch

    async def _drain(self) -> None:
        while self._waiting and not self._joining and (batch := await self._next()):
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
            del batch, outcomes, outcome, future
        # Here and not in a callback: a caller that runs before that and submits again would wait for a flush that nobody starts.
        self._running.discard(asyncio.current_task())
