"""RabbitMQ goes away in every way that it can: jobs go on, and it is listened to again within 15 s after its return."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import aio_pika
import pytest

from chaos.experiment import Experiment
from generator.bells import QUEUE
from rabbitmq import RabbitMQ
from waiting import holds, until

pytestmark = pytest.mark.patient

CONSUMED_AGAIN_WITHIN = 15.0
"""How soon after its return RabbitMQ has to be consumed again."""

GENERATORS = 2


class Queue:
    """The queue as the broker sees it."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def consumers(self) -> int:
        """How many consume from it; -1 while it cannot be asked."""
        return await self._ask("consumer_count")

    async def delete(self) -> None:
        """Deletes it; the broker cancels its consumers."""
        async with self._channel() as channel:
            await channel.queue_delete(QUEUE)

    async def consumed_again(self) -> None:
        """Waits until each generator consumes."""

        async def all_consume() -> bool:
            return await self.consumers() == GENERATORS

        await until(all_consume, 60, what="every generator to consume again")

    async def has_no_zombies(self, seconds: float = 3) -> None:
        """No generator has a second consumer."""

        async def one_each() -> bool:
            return await self.consumers() <= GENERATORS

        await holds(one_each, seconds, what="one consumer for each generator")

    async def _ask(self, what: str) -> int:
        try:
            async with self._channel() as channel:
                queue = await channel.declare_queue(QUEUE, passive=True)
                return int(getattr(queue.declaration_result, what) or 0)
        except (aio_pika.exceptions.AMQPError, OSError, TimeoutError):
            return -1

    @contextlib.asynccontextmanager
    async def _channel(self) -> AsyncIterator[Any]:
        connection = await aio_pika.connect(self._url, timeout=5)
        try:
            yield await connection.channel()
        finally:
            await connection.close()


async def rings(experiment: Experiment) -> float:
    return await experiment.metric("jobs", "mediagen_rabbitmq_published_total")


async def rung_again(experiment: Experiment, rung: float) -> None:
    """Waits until jobs rings again, which needs something to ring for: a job that is refused once, as a new one begins without."""

    async def rang() -> bool:
        return await rings(experiment) > rung

    async def more() -> bool:
        await experiment.faults({"effect": "create_answer", "answer": "throttled_about", "retry_after": 1, "times": 1})
        await experiment.post(1, "to be rung for")
        with contextlib.suppress(AssertionError):
            return await until(rang, 5)
        return False

    await until(more, 60, what="jobs to ring again")
    await experiment.faults()


async def goes_on(experiment: Experiment, what: str) -> None:
    """Jobs are accepted and generated, whatever RabbitMQ does; how soon is the machine's matter: nothing of theirs waits for it."""
    for _ in range(4):
        began = time.monotonic()
        await experiment.post(1, f"{what}: accepted")
        assert time.monotonic() - began < 15
    await experiment.completes(f"{what}: generated", within=60)


@pytest.mark.timeout(900)  # each rabbitmqctl starts an Erlang of its own
async def test_jobs_go_on_whatever_rabbitmq_does_and_it_is_consumed_soon_after_its_return(start, rabbitmq: RabbitMQ):
    experiment: Experiment = start(generators=GENERATORS)
    queue = Queue(experiment.stack.services.amqp_url)
    vhost = experiment.stack.services.amqp_url.rpartition("/")[2]
    await queue.consumed_again()
    await experiment.completes("first")

    async def control(*arguments: str) -> None:
        await asyncio.to_thread(rabbitmq.control, *arguments)

    async def returned(what: str, since: float, rung: float) -> None:
        await queue.consumed_again()
        await rung_again(experiment, rung)
        took = time.monotonic() - since
        experiment.note(f"RabbitMQ's return to its consumption: {what}", took)
        assert took < CONSUMED_AGAIN_WITHIN, what
        await queue.has_no_zombies()

    rung = await rings(experiment)
    await queue.delete()
    await returned("its queue was deleted, which cancels the consumers", time.monotonic(), rung)

    rung = await rings(experiment)
    await control("close_all_connections", "-p", vhost, "a test")
    await returned("its connections were closed", time.monotonic(), rung)

    await control("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        await goes_on(experiment, "an alarm")
        rung = await rings(experiment)
        await goes_on(experiment, "an alarm that is known")
    finally:
        await control("set_vm_memory_high_watermark", "0.4")
    await returned("an alarm", time.monotonic(), rung)

    rung = await rings(experiment)
    await control("stop_app")
    await goes_on(experiment, "its application stopped")
    await control("start_app")
    await returned("its application stopped", time.monotonic(), rung)

    for what, end in (("stopped", rabbitmq.stop), ("killed", rabbitmq.kill)):
        await experiment.post(10, f"before it was {what}")
        await asyncio.to_thread(end)
        rung = await rings(experiment)
        await goes_on(experiment, what)
        rabbitmq.start()
        await asyncio.to_thread(rabbitmq.wait)
        await returned(f"it was {what}", time.monotonic(), rung)
    await experiment.all_is_well()
