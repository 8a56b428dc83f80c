"""RabbitMQ's queues as this service sees them: how deep they are, and who listens."""

import asyncio
import math
from collections.abc import Sequence

import structlog
from aio_pika.abc import AbstractConnection
from prometheus_client import Gauge

log = structlog.get_logger()

LOOK_SECONDS = 10.0
"""How often they are looked at."""

PATIENCE_SECONDS = 5.0
"""How long the broker may take to tell: in an alarm it reads nothing that this connection sends."""

_queued = Gauge("mediagen_rabbitmq_queue_messages", "Messages that wait in a queue, as this service sees it.", ["queue"])
_consumers = Gauge("mediagen_rabbitmq_queue_consumers", "Consumers of a queue, as this service sees it.", ["queue"])


async def watch_queues(connection: AbstractConnection, queues: Sequence[str]) -> None:
    """Looks at queues for ever. What is not known is NaN: a queue is missing, the broker is slow, the connection is gone."""
    try:
        while True:
            for queue in queues:
                messages, consumers = await _look(connection, queue)
                _queued.labels(queue).set(messages)
                _consumers.labels(queue).set(consumers)
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        for queue in queues:
            _queued.labels(queue).set(math.nan)
            _consumers.labels(queue).set(math.nan)


async def _look(connection: AbstractConnection, queue: str) -> tuple[float, float]:
    """How many messages and consumers a queue has.

    It is asked for in a task of its own, which is left alone once it has taken too long, or this one is cancelled: to close a
    channel of a silent connection takes for ever, and neither the bell nor the end of the service may wait for that.
    """
    asked = asyncio.create_task(_ask(connection, queue))
    try:
        done, _ = await asyncio.wait({asked}, timeout=PATIENCE_SECONDS)
        return asked.result() if done else (math.nan, math.nan)
    finally:
        asked.cancel()


async def _ask(connection: AbstractConnection, queue: str) -> tuple[float, float]:
    """The channel is for this alone: the broker closes it where there is no such queue."""
    try:
        async with connection.channel() as channel:
            seen = (await channel.declare_queue(queue, passive=True)).declaration_result
            return seen.message_count or 0, seen.consumer_count or 0
    except Exception as error:
        log.debug("rabbitmq.queue_not_seen", queue=queue, error=f"{type(error).__name__}: {error}")
        return math.nan, math.nan
