"""What is told of a connection to RabbitMQ that was never made."""

import asyncio
import contextlib

from aio_pika.abc import AbstractConnection
from prometheus_client import REGISTRY

import ports
from chassis import rabbit
from waiting import until


async def test_a_connection_that_was_never_made_counts_as_down():
    async def never(connection: AbstractConnection) -> None:
        raise AssertionError("nobody listens there")

    address = f"amqp://guest:guest@127.0.0.1:{ports.any_free_port()}/"
    task = asyncio.create_task(rabbit.supervise(address, "nowhere", never))
    try:
        await until(lambda: REGISTRY.get_sample_value("mediagen_rabbitmq_up", {"role": "nowhere"}) is not None)
        assert REGISTRY.get_sample_value("mediagen_rabbitmq_up", {"role": "nowhere"}) == 0
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
