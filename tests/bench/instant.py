"""A generator whose provider and bucket are in its own process: `python -m bench.instant`, with the settings of any generator.

All else is the product's own, started by its own composition root: claims, intents, reports, heartbeats, the poller, the sniffing
and hashing of outputs. The provider answers a create at once and ends the prediction after BENCH_PREDICT_SECONDS; the poller is
told of each end as it comes, as by a webhook, and then looks for itself. What both cost is the generator's CPU.
"""

import asyncio
import base64
import contextlib
import datetime
import itertools
import os
import secrets
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import generator.__main__ as product
from bench.starts import note_start
from chassis.lifecycle import run
from chassis.settings import load_settings
from generator.outcomes import Created, CreateOutcome
from generator.poller import Poller
from generator.replicate_api import NotFound, Page, Prediction
from generator.settings import Settings

_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # one pixel
PICTURE = f"data:image/png;base64,{_PNG}"
assert base64.b64decode(_PNG).startswith(b"\x89PNG")


KEPT_SECONDS = 15.0
"""How long an ended prediction is remembered: one that ended at once may be followed a little later."""


class Provider:
    """As much of ReplicateApi as a generator calls."""

    def __init__(self, predict_seconds: float) -> None:
        """How long each prediction takes."""
        self._seconds = predict_seconds
        self._made: dict[str, tuple[float, str]] = {}
        """When each ends, by the monotonic clock, and when it was made, as Replicate writes times."""
        self._ids = (f"{secrets.token_hex(8)}{number:08x}" for number in itertools.count())

    def now(self) -> datetime.datetime:
        """The time."""
        return datetime.datetime.now(datetime.UTC)

    async def create(
        self, model: str, input_json: str, cancel_after: float, timeout: float, webhook: str | None = None
    ) -> CreateOutcome:
        """A new prediction."""
        note_start(input_json)
        prediction_id = next(self._ids)
        made_at = self.now().isoformat(timespec="microseconds").replace("+00:00", "Z")
        now = time.monotonic()
        self._made[prediction_id] = (now + self._seconds, made_at)
        for oldest in list(itertools.islice(self._made, 2)):
            if self._made[oldest][0] < now - KEPT_SECONDS:
                del self._made[oldest]
        return Created({"id": prediction_id, "status": "starting", "created_at": made_at, "output": None})

    def ends_in(self, prediction_id: str) -> float:
        """Seconds until a prediction ends; endless for one that is not known."""
        return self._made.get(prediction_id, (float("inf"), ""))[0] - time.monotonic()

    async def get(self, prediction_id: str) -> Prediction:
        """One prediction."""
        if prediction_id not in self._made:
            raise NotFound(prediction_id)
        return self._view(prediction_id)

    async def page(self, *, created_before: str | None = None, cursor: str | None = None) -> Page:
        """The newest hundred, or those before a time."""
        newest_first = (key for key, (_, made_at) in reversed(self._made.items()) if not created_before or made_at < created_before)
        shown = list(itertools.islice(newest_first, 101))
        return Page([self._view(key) for key in shown[:100]], "more" if len(shown) > 100 else None, self.now())

    async def cancel(self, prediction_id: str) -> None:
        """Nothing is cancelled here."""

    async def account_answers(self) -> bool:
        """It does."""
        return True

    def _view(self, prediction_id: str) -> Prediction:
        ends_at, made_at = self._made[prediction_id]
        view: Prediction = {"id": prediction_id, "status": "processing", "created_at": made_at, "output": None}
        if time.monotonic() < ends_at:
            return view
        completed_at = self.now().isoformat(timespec="microseconds").replace("+00:00", "Z")
        metrics = {"predict_time": self._seconds}
        return {**view, "status": "succeeded", "output": PICTURE, "completed_at": completed_at, "metrics": metrics}


class Notified(Poller):
    """The product's poller, told of each end."""

    def __init__(self, api: Any, budget: Any) -> None:
        """As the poller."""
        super().__init__(api, budget)
        self._provider: Provider = api
        self._ended: list[str] = []
        self._looking: set[asyncio.Task[None]] = set()

    def follow(self, prediction_id: str, created_at: Any, changed: Any) -> asyncio.Future[Prediction]:
        """As the poller; the prediction's end will be told."""
        ended = super().follow(prediction_id, created_at, changed)
        wait = self._provider.ends_in(prediction_id)
        if wait < float("inf"):
            asyncio.get_running_loop().call_later(max(0.0, wait + 0.001 * (wait > 0)), self._tell, prediction_id)
        return ended

    def _tell(self, prediction_id: str) -> None:
        """Those that end in one turn of the loop are looked at together, as one message of a watch names several."""
        if not self._ended:
            asyncio.get_running_loop().call_soon(self._look)
        self._ended.append(prediction_id)

    def _look(self) -> None:
        ended, self._ended = self._ended, []
        task = asyncio.create_task(self.look_now(ended))
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)


class MemoryBucket:
    """As much of a Bucket as a generator uses: it takes everything and keeps nothing."""

    def __init__(self) -> None:
        """Usable from the start."""
        self.usable = asyncio.Event()
        self.usable.set()

    async def put(self, key: str, body: AsyncIterator[bytes], size: int, content_type: str) -> None:
        """Reads the object to its end."""
        async for _ in body:
            pass

    def failed(self) -> None:
        """It never does."""

    async def watch(self) -> None:
        """For ever."""
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def provider(url: str, token: str | None) -> AsyncIterator[Provider]:
    """In place of replicate_api."""
    yield Provider(float(os.environ.get("BENCH_PREDICT_SECONDS", "0")))


@contextlib.asynccontextmanager
async def bucket(*settings: str) -> AsyncIterator[MemoryBucket]:
    """In place of open_bucket."""
    yield MemoryBucket()


if __name__ == "__main__":
    for name, double in (("replicate_api", provider), ("open_bucket", bucket), ("Poller", Notified)):
        assert hasattr(product, name), f"the generator's composition root has no {name} any more"
        setattr(product, name, double)
    run(partial(product.main, load_settings(Settings)))
