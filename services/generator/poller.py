"""One poller follows every prediction that this generator holds, by pages of Replicate's list: 100 predictions for one read.

Reading each one by itself would spend the account's 3,000 reads a minute at 50 predictions. What a page does not show is unknown,
not gone: pages lag and are skipped, so only the 404 of the prediction's own address counts.
"""

import asyncio
import contextlib
import datetime
import math
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import structlog

from generator.leash import Leash
from generator.metrics import prediction_seconds, predictions_in_flight
from generator.moments import moment
from generator.reads import ReadBudget
from generator.replicate_api import TERMINAL, NotFound, Prediction, ReadFailed, ReplicateApi

log = structlog.get_logger()

FEW = 3
"""Up to this many are read one by one: as many reads as pages might take, and a hundredth of the bytes."""

FIRST_LOOK_SECONDS = 0.5
"""The shortest interval between two rounds, and how long a new prediction is left alone where there are few."""

FOLLOWED_PER_SECOND = 50
"""A round for every so many takes a second at least: 100 are looked at every 2 s, 500 every 10 s, however young they are."""

SINGLES_AT_ONCE = 8

GONE_AFTER, GONE_SECONDS = 3, 20.0
"""How many looks, and over how long, have to find nothing before a prediction counts as gone: a new one may not be readable at
once, and looks at a new one follow each other quickly."""

KNOWN = TERMINAL | {"starting", "processing", "queued"}

_PERCENT = re.compile(r"(\d+)%\s*\|")


Changed = Callable[[float | None, str], None]
"""Gets a prediction's progress, where it tells, and its status."""


class PredictionGone(Exception):
    """Replicate has no record of the prediction any more."""


@dataclass(eq=False)
class Followed:
    """One prediction that is followed."""

    prediction_id: str
    created_at: str | None
    """When Replicate made it, by its own clock; None until it was seen."""
    changed: Changed
    """Called whenever it was seen."""
    ended: asyncio.Future[Prediction]
    """Gets the prediction in its terminal state, or PredictionGone."""
    since: float = field(default_factory=time.monotonic)
    looked_at: float = 0.0
    misses: int = 0
    missed_since: float = 0.0
    """When the first of these misses was."""


class Poller:
    """Reads Replicate while anything is followed, within the budget."""

    def __init__(self, api: ReplicateApi, budget: ReadBudget) -> None:
        """`budget` is shared with whatever else reads."""
        self._api = api
        self._budget = budget
        self._followed: dict[str, Followed] = {}
        self._came = asyncio.Event()
        self._strange: set[str] = set()
        self.beat = time.monotonic()
        """When it was last seen alive."""

    def follow(self, prediction_id: str, created_at: Any, changed: Changed) -> asyncio.Future[Prediction]:
        """Follows a prediction until the future has its end; cancelling the future lets go of it."""
        ended: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        followed = Followed(prediction_id, created_at if moment(created_at) else None, changed, ended)
        self._followed[prediction_id] = followed
        predictions_in_flight.set(len(self._followed))
        ended.add_done_callback(lambda _: self._forget(followed))
        self._came.set()
        return ended

    async def look_now(self, prediction_ids: Iterable[str]) -> None:
        """Reads these at once, those of them that are followed here; what fails is left to the rounds, which go on as they would.

        The budget counts it and does not keep it waiting: each prediction ends once, and one that is seen to is polled no more.
        """
        asked = [followed for key in prediction_ids if (followed := self._followed.get(key)) is not None]
        for _ in asked:
            self._budget.spend()
        for problem in await asyncio.gather(*map(self._read_single, asked)):
            if problem is not None:
                log.warning("look.failed", error=str(problem))

    async def run(self, leash: Leash) -> None:
        """Polls for ever, at the times that `leash` knows."""
        looked_at = -math.inf
        while True:
            await self._until_due(looked_at, leash)
            began = time.monotonic()
            pause = await self._round()
            looked_at = time.monotonic() + pause if pause else began  # a round of thousands takes a while
            self._budget.planned = self._plan(self._interval(leash.timing.poll_seconds), leash.timing.heartbeat_seconds)

    async def _until_due(self, looked_at: float, leash: Leash) -> None:
        """Waits for the next round; whoever comes meanwhile may bring it forward, while there are few."""
        while True:
            self.beat = time.monotonic()
            self._came.clear()
            wait = self._due_at(looked_at, leash.timing.poll_seconds) - self.beat if self._followed else 5.0
            if self._followed and wait <= 0:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait, 5.0)):
                    await self._came.wait()

    def _due_at(self, looked_at: float, poll_seconds: float) -> float:
        due = looked_at + self._interval(poll_seconds)
        if len(self._followed) > FEW:
            return due
        return max(due, min(followed.since for followed in self._followed.values()) + min(FIRST_LOOK_SECONDS, poll_seconds))

    def _interval(self, poll_seconds: float) -> float:
        """Seconds until the next round: the poll interval, or less while some are young and not too many."""
        youngest = time.monotonic() - max((followed.since for followed in self._followed.values()), default=0.0)
        return min(poll_seconds, max(FIRST_LOOK_SECONDS, youngest / 4, len(self._followed) / FOLLOWED_PER_SECOND))

    def _plan(self, interval: float, heartbeat: float) -> int:
        """Reads until the next heartbeat: rounds, times what one of them takes if the followed lie densely, and a few singles."""
        count = len(self._followed)
        a_round = count if count <= FEW else 2 + count // 50
        return int(a_round * (heartbeat / max(interval, 0.05) + 1))

    async def _round(self) -> float:
        """Looks once at everything that is followed. Returns how long Replicate asked to be left alone."""
        waiting = dict(self._followed)
        try:
            if len(waiting) > FEW:
                await self._read_pages(waiting)
            await self._read_singles(waiting)
        except ReadFailed as error:
            log.warning("poll.failed", error=str(error), followed=len(self._followed))
            return max(1.0, error.retry_after_seconds)
        except Exception:  # one odd answer must not end the process, and with it every job
            log.exception("poll.crashed", followed=len(self._followed))
            return 1.0
        return 0.0

    async def _read_pages(self, waiting: dict[str, Followed]) -> None:
        """Takes out of `waiting` what the pages show. Each page begins at the newest of those that are left."""
        before: str | None = None
        while len(waiting) > FEW and self._budget.take():
            self.beat = time.monotonic()
            try:
                page = await self._api.page(created_before=before)
            except ReadFailed as error:
                if error.retry_after_seconds:
                    raise
                log.warning("poll.page_failed", error=str(error))  # too large, say; each can still be read by itself
                return
            shown = [item for item in page.results if item["id"] in waiting and _is_whole(item)]
            for item in shown:
                self._see(waiting.pop(item["id"]), item)
            oldest = moment(page.results[-1].get("created_at")) if page.results else None
            if page.cursor is None or oldest is None or (before is not None and not shown):
                return
            # Only what was made before the page's end can be on a later page; what should have been on this one is read singly.
            older = [made for left in waiting.values() if (made := moment(left.created_at)) and made < oldest]
            if len(older) <= FEW:
                return
            before = (max(older) + datetime.timedelta(microseconds=1)).isoformat(timespec="microseconds").replace("+00:00", "Z")

    async def _read_singles(self, waiting: dict[str, Followed]) -> None:
        """Reads those that no page showed, the ones that were looked at longest ago first, as far as the budget goes."""
        left = [followed for followed in waiting.values() if not followed.ended.done()]
        left.sort(key=lambda followed: followed.looked_at)
        while left and self._budget.left:
            some, left = left[:SINGLES_AT_ONCE], left[SINGLES_AT_ONCE:]
            problems = await asyncio.gather(*(self._read_single(followed) for followed in some if self._budget.take()))
            if failed := [problem for problem in problems if problem]:
                raise failed[0]

    async def _read_single(self, followed: Followed) -> ReadFailed | None:
        followed.looked_at = time.monotonic()
        try:
            self._see(followed, await self._api.get(followed.prediction_id))
        except ReadFailed as error:
            return error
        except NotFound:
            if followed.misses == 0:
                followed.missed_since = followed.looked_at
            followed.misses += 1
            lasting = followed.misses >= GONE_AFTER and followed.looked_at - followed.missed_since >= GONE_SECONDS
            if lasting and not followed.ended.done():
                followed.ended.set_exception(PredictionGone())
        return None

    def _see(self, followed: Followed, item: Prediction) -> None:
        followed.misses = 0
        if moment(item.get("created_at")):
            followed.created_at = item["created_at"]
        if followed.ended.done():
            return
        status = str(item.get("status"))
        if status in TERMINAL:
            followed.ended.set_result(item)
            prediction_seconds.observe(time.monotonic() - followed.since)
            return
        if status not in KNOWN and status not in self._strange:
            self._strange.add(status)
            log.warning("prediction.unknown_status", status=status[:100], prediction_id=followed.prediction_id)
        followed.changed(progress_of(item), status)

    def _forget(self, followed: Followed) -> None:
        if self._followed.get(followed.prediction_id) is followed:
            del self._followed[followed.prediction_id]
            predictions_in_flight.set(len(self._followed))


def _is_whole(item: Prediction) -> bool:
    """Whether a page may be believed: a success whose output it leaves out is read by itself."""
    return item.get("status") != "succeeded" or item.get("output") is not None or bool(item.get("data_removed"))


def progress_of(prediction: Prediction) -> float | None:
    """How far a prediction is, from the progress bar that most models print into their logs; None where there is none."""
    logs = prediction.get("logs")
    found = _PERCENT.findall(logs[-4096:]) if isinstance(logs, str) else []
    return min(int(found[-1]), 100) / 100 if found else None
