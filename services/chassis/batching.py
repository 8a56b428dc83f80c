"""Natural batching: what waits while one flush is under way goes into the next one. Nothing waits when all is quiet."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


PACE_SECONDS = 0.01
"""From one commit to the next of what comes all the time: reports of generators, and webhooks. Fewer and larger commits lower what
each costs, and what is read or told of a job by then is that much later."""

ENOUGH = 16
"""A flush of so many is worth its cost: it does not wait for more."""

FEW = 8
"""So many are not divided: what a flush costs by itself is more than what it costs for them."""

LOOKS = 3
"""How often a flush that waits for others looks whether any have come since; it goes once none have. A few clients that wait for
their answers all come again within one look, and nobody else does: they are held up no longer than that."""

SHARED, ALONE = 1.25, 2.25
"""Items in a flush, on average: from the first on others are likely to come soon, and flushes are paced; below the second, although
they are paced, few come, and waiting for them is not worth it."""

WEIGHT = 1 / 8
"""Of the last flush in that average."""

QUIET = 10
"""After so many times the pace without a flush, what came before says nothing any more."""


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
        even: bool = False,
    ) -> None:
        """`lanes` is how many flushes may be under way at once. Where they are `even`, none takes more than its lane's share of
        what waits and what is under way: whoever flushes and whoever is asked then work side by side, however many come.

        Where items come all the time, a flush begins `pace` seconds after the one before, unless ENOUGH wait by then or no more
        come: what a flush costs is shared by more, and a machine that has much to do gets through with it sooner. One item after
        the other, as of a single client, is not paced, however fast they come.
        """
        self._flush = flush
        self._limit = limit
        self._lanes = lanes
        self._key = key
        self._pace = pace
        self._even = even
        self._under_way = 0
        self._size = 1.0
        self._paced = False
        self._flushed_at = 0.0
        self._joining = False
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
        if len(self._running) < self._lanes and self._waiting and not self._joining:
            task = asyncio.create_task(self._drain())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _most(self) -> int:
        """How many the next flush may take."""
        if not self._even:
            return self._limit
        return min(self._limit, max(FEW, math.ceil((len(self._waiting) + self._under_way) / self._lanes)))

    def _take(self) -> list[tuple[Item, asyncio.Future[Outcome]]]:
        most = self._most()
        if self._key is None:
            taken, self._waiting = self._waiting[:most], self._waiting[most:]
            return taken
        taken, left = [], []
        for entry in self._waiting:
            key = self._key(entry[0])
            if len(taken) < most and key not in self._busy:
                self._busy.add(key)
                taken.append(entry)
            else:
                left.append(entry)
        self._waiting = left
        return taken

    async def _next(self) -> list[tuple[Item, asyncio.Future[Outcome]]]:
        """What the next flush takes. Whoever is ready in this turn of the loop joins it; where flushes are paced, whoever comes."""
        self._joining = True
        try:
            await asyncio.sleep(0)
            if self._paced:
                await self._others()
        finally:
            self._joining = False
        if batch := self._take():
            self._learn(len(batch))
            self._under_way += len(batch)
            self._start()  # what was left goes with another lane
        return batch

    async def _others(self) -> None:
        """Waits for others for as long as they come, until ENOUGH are there or the next flush is due."""
        seen = 0
        while seen < len(self._waiting) < ENOUGH and (pause := self._flushed_at + self._pace - time.monotonic()) > 0:
            seen = len(self._waiting)
            await asyncio.sleep(min(pause, self._pace / LOOKS))

    def _learn(self, size: int) -> None:
        """Decides by what is flushed now whether flushes are to be paced."""
        if not self._pace:
            return
        now = time.monotonic()
        if now - self._flushed_at > QUIET * self._pace:
            self._size, self._paced = 1.0, False
        self._flushed_at = now
        self._size += (size - self._size) * WEIGHT
        paced = self._size >= (ALONE if self._paced else SHARED)
        if paced != self._paced:  # what was seen without a pause says little of what is seen with one
            self._size, self._paced = 2 * ALONE if paced else 1.0, paced

    async def _drain(self) -> None:
        while self._waiting and not self._joining and (batch := await self._next()):
            try:
                outcomes = await self._flush([item for item, _ in batch])
                if len(outcomes) != len(batch):
                    raise RuntimeError(f"{len(outcomes)} outcomes for a batch of {len(batch)}")
            except Exception as error:
                outcomes = [error] * len(batch)
            finally:
                self._under_way -= len(batch)
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
