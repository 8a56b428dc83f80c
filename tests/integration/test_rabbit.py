"""The connection to RabbitMQ heals from everything that brokers do, and a confirmed message is there."""

import asyncio
import contextlib

import aio_pika
import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from chassis import rabbit
from jobs.bell import IDS_PER_MESSAGE, QUEUE, Bell, Ring
from mediagen.jobs.v1 import ready_pb2
from waiting import until


class Consumer:
    """Consumes through the supervisor, as a generator does, and keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.messages = 0

    async def session(self, connection) -> None:
        async def deliver(message) -> None:
            self.messages += 1
            self.heard += ready_pb2.JobsReady.FromString(message.body).job_ids
            await message.ack()

        await rabbit.consume(connection, QUEUE, 16, deliver)

    async def hears(self, job_id: str, seconds: float = 40) -> None:
        await until(lambda: job_id in self.heard, seconds, what=f"{job_id} is heard")


@pytest_asyncio.fixture
async def line(amqp_url):
    """A bell and a consumer on one broker."""
    bell, consumer = Bell(amqp_url), Consumer()
    tasks = [asyncio.create_task(bell.run()), asyncio.create_task(rabbit.supervise(amqp_url, "test", consumer.session))]
    await until(lambda: bell.up)
    yield bell, consumer
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def ring_until_heard(bell: Bell, consumer: Consumer, name: str, seconds: float = 40) -> None:
    """Rings again and again, as the relay does, until the consumer has heard it."""

    def rung_and_heard() -> bool:
        if name not in consumer.heard:
            bell.ring([Ring(name, "", "")])
        return name in consumer.heard

    await until(rung_and_heard, seconds, what=f"{name} is heard")


async def test_ids_that_wait_together_travel_together(line):
    bell, consumer = line
    bell.ring([Ring(f"job-{n}", "", "") for n in range(100)])
    for n in range(100):
        await consumer.hears(f"job-{n}")
    assert consumer.messages == 100 / IDS_PER_MESSAGE


async def test_a_deleted_queue_whose_consumer_the_broker_cancels_is_declared_and_consumed_again(line, amqp_url):
    bell, consumer = line
    await ring_until_heard(bell, consumer, "before")
    connection = await aio_pika.connect(amqp_url)
    channel = await connection.channel()
    await channel.queue_delete(QUEUE)
    await connection.close()
    await ring_until_heard(bell, consumer, "after")


async def test_connections_that_the_broker_closes_come_back(line, rabbitmq):
    bell, consumer = line
    rabbitmq.control("close_all_connections", "--global", "test")
    await ring_until_heard(bell, consumer, "after")


async def test_a_broker_that_is_killed_and_started_again_is_found_again(line, rabbitmq):
    bell, consumer = line
    rabbitmq.sync()
    rabbitmq.kill()
    await until(lambda: not bell.up)
    bell.ring([Ring("lost", "", "")])  # nothing waits for a broker that is away: the table rings again
    rabbitmq.start()
    rabbitmq.wait()
    await ring_until_heard(bell, consumer, "after", seconds=60)
    assert "lost" not in consumer.heard


async def test_a_message_that_reaches_no_queue_is_an_error_and_not_a_success(amqp_url):
    connection = await aio_pika.connect(amqp_url)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(connection.close)
        publish = await stack.enter_async_context(rabbit.publisher(connection, QUEUE))
        await publish(b"")
        channel = await connection.channel()
        await channel.queue_delete(QUEUE)
        with pytest.raises(aio_pika.exceptions.DeliveryError):
            await publish(b"")


async def test_the_queue_has_the_policy_of_the_definitions(amqp_url, rabbitmq):
    listed = rabbitmq.control("list_queues", "-p", amqp_url.rsplit("/", 1)[1], "name", "type", "policy", "--quiet")
    queues = {line.split()[0]: line.split()[1:] for line in listed.splitlines() if line.startswith("mediagen")}
    assert queues[QUEUE][0].startswith("quorum") or "quorum" in queues[QUEUE]
    assert len(queues) == 2


async def test_in_an_alarm_no_publisher_is_to_be_had(amqp_url, rabbitmq):
    await asyncio.to_thread(rabbitmq.control, "set_vm_memory_high_watermark", "absolute", "1MB")
    connection = await aio_pika.connect(amqp_url)
    try:
        with pytest.raises(TimeoutError):
            async with rabbit.publisher(connection, QUEUE):
                pass
    finally:
        await asyncio.to_thread(rabbitmq.control, "set_vm_memory_high_watermark", "0.4")
        await connection.close()


def is_up(role: str) -> float | None:
    return REGISTRY.get_sample_value("mediagen_rabbitmq_up", {"role": role})


async def test_a_connection_counts_as_up_while_its_consumer_is_there(line):
    await until(lambda: is_up("test") == is_up("jobs: bell") == 1)


async def test_in_an_alarm_a_bell_is_not_up_though_the_broker_takes_its_connections(amqp_url, rabbitmq):
    await asyncio.to_thread(rabbitmq.control, "set_vm_memory_high_watermark", "absolute", "1MB")
    task = asyncio.create_task(Bell(amqp_url).run())
    try:
        ends = asyncio.get_running_loop().time() + rabbit.CONFIRM_SECONDS + 2
        while asyncio.get_running_loop().time() < ends:
            assert is_up("jobs: bell") in (None, 0)
            await asyncio.sleep(0.02)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.to_thread(rabbitmq.control, "set_vm_memory_high_watermark", "0.4")


async def test_a_confirm_that_takes_too_long_is_seen_as_that_long(line, monkeypatch):
    bell, _ = line
    monkeypatch.setattr(rabbit, "CONFIRM_SECONDS", 0.000_001)

    def observed() -> float:
        return REGISTRY.get_sample_value("mediagen_rabbitmq_confirm_seconds_count") or 0

    def confirmed() -> float:
        return REGISTRY.get_sample_value("mediagen_rabbitmq_published_total") or 0

    seen, published = observed(), confirmed()
    bell.ring([Ring("slow", "", "")])
    await until(lambda: observed() > seen)
    assert confirmed() == published
