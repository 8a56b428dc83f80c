"""Looking at queues holds nothing up, whatever the connection does."""

import asyncio
import math
from types import SimpleNamespace

from prometheus_client import REGISTRY

from jobs import queues
from jobs.queues import watch_queues
from waiting import until

NAME = "mediagen_rabbitmq_queue_messages"


class Silent:
    """A channel of a connection that fell silent: not even its end is answered, and a cancellation of it is lost."""

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    async def declare_queue(self, name, passive):
        await released.wait()


released = asyncio.Event()


async def test_a_silent_connection_holds_neither_the_watch_nor_its_end_up(monkeypatch):
    monkeypatch.setattr(queues, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(queues, "LOOK_SECONDS", 0.01)
    opened = []
    connection = SimpleNamespace(channel=lambda: opened.append(Silent()) or opened[-1])
    watch = asyncio.create_task(watch_queues(connection, ["silent"]))
    await until(lambda: len(opened) > 2)
    assert math.isnan(REGISTRY.get_sample_value(NAME, {"queue": "silent"}))
    watch.cancel()
    done, _ = await asyncio.wait({watch}, timeout=5)
    released.set()
    assert done
