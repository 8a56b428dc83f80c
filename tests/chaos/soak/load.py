"""The load: jobs of every kind that clients post, at random times."""

import asyncio
import random
import time
from typing import Any

from chaos.soak.settings import Settings
from history.recorder import Recorder

TENANTS = ("tests", "studio", "agency")

KINDS = {
    "plain": 46,
    "two outputs": 8,
    "twins": 12,
    "canceled": 12,
    "impatient": 5,
    "prioritized": 7,
    "short of time": 6,
    "watched": 12,
}
"""What is posted, and how often against others."""

PERSEVERANCE = 600.0
"""Seconds for which a client repeats a create."""

LOOK_SECONDS = 3.0
"""How often clients look at what is not final."""

THINGS = ("fox", "lighthouse", "violin", "harbour", "cactus", "tram", "owl", "glacier")
STYLES = ("in oil on canvas", "as a woodcut", "in watercolours", "on a stamp", "at dusk", "after rain")


class Load:
    """Posts jobs through a recorder."""

    def __init__(self, recorder: Recorder, settings: Settings) -> None:
        """The seed and the rate are the settings'."""
        self.posted = 0
        self.problems: list[str] = []
        self._recorder = recorder
        self._settings = settings
        self._random = random.Random(f"load {settings.seed}")
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, seconds: float) -> None:
        """Posts for so long; returns when every client has its answers."""
        deadline = time.monotonic() + seconds
        looking = asyncio.create_task(self._look())
        # Arrivals have times of their own: what the machine is late with is made up for.
        due = time.monotonic()
        while (due := due + self._random.expovariate(self._settings.jobs_per_second)) < deadline:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            kind = self._random.choices(list(KINDS), list(KINDS.values()))[0]
            task = asyncio.create_task(self._guarded(kind, random.Random(self._random.random())))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        while self._tasks:
            await asyncio.wait(self._tasks)
        looking.cancel()

    async def _look(self) -> None:
        while True:
            await self._recorder.look_once()
            await asyncio.sleep(LOOK_SECONDS)

    async def _guarded(self, kind: str, draw: random.Random) -> None:
        try:
            await self._client(kind, draw)
        except Exception as error:
            self.problems.append(f"a client with a job that was {kind} gave up: {type(error).__name__}: {error}")

    async def _client(self, kind: str, draw: random.Random) -> None:
        self.posted += 1
        prompt = f"a soaked {draw.choice(THINGS)} {draw.choice(STYLES)}, number {self.posted}"
        parameters: dict[str, Any] = {"megapixels": "0.25"}
        fields: dict[str, Any] = {"parameters": parameters, "tenant": draw.choice(TENANTS)}
        post = self._recorder.post
        match kind:
            case "two outputs":
                await post(prompt, **{**fields, "parameters": {**parameters, "num_outputs": 2}})
            case "twins":
                await asyncio.gather(*[post(prompt, **fields) for _ in range(draw.randint(2, 4))])
            case "canceled":
                await self._cancel(await post(prompt, **fields), draw.uniform(0, 30 * self._settings.scale))
            case "impatient":
                key = f"impatient-{self.posted}"
                await asyncio.gather(*[post(prompt, key=key, **fields) for _ in range(2)])
            case "prioritized":
                await post(prompt, priority=draw.randint(-10, 10), **fields)
            case "short of time":
                await post(prompt, deadline_seconds=draw.randint(5, 60), **fields)
            case "watched":
                self._recorder.watch(await post(prompt, **fields))
            case _:
                await post(prompt, **fields)

    async def _cancel(self, job_id: str, after: float) -> None:
        """Asks for the job's end until it is answered."""
        await asyncio.sleep(after)
        deadline = time.monotonic() + PERSEVERANCE
        while await self._recorder.cancel(job_id) not in (200, 409):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no cancel of {job_id} was answered")
            await asyncio.sleep(1)
