"""RabbitMQ as a bell that may be away: one supervised connection, thrown away and made anew at the first sign of trouble.

aio-pika's robust mode keeps dead consumers alive through years of issues (aio-pika #231, #563, #577); a plain connection that is
dropped on any doubt is simpler and heals surely. Queues are declared with `x-queue-type` only; all else is policy.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import cast

import aio_pika
import aiormq
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from pamqp.commands import Basic
from prometheus_client import Gauge

log = structlog.get_logger()

CONNECT_SECONDS = 5.0
"""How long the making of a connection may take."""

LONGEST_DELAY_SECONDS = 5.0
"""The longest pause between two tries, before jitter: RabbitMQ is to be consumed again within 15 s after its return."""

HEARTBEAT_SECONDS = 5
"""A dead peer is noticed after four of these."""

CONFIRM_SECONDS = 5.0
"""A broker that confirms later than this counts as away: an alarm blocks publishers without a word."""

SETUP_SECONDS = 20.0
"""A queue that lost its leader answers nothing at all; then everything is tried anew."""

WATCHDOG_SECONDS = 5.0
"""How often a consumer is looked for."""

NOBODY = "mediagen.nobody"
"""A queue that there is not."""

_up = Gauge("mediagen_rabbitmq_up", "1 while RabbitMQ works: it confirms, or it delivers.", ["role"])
_role: ContextVar[str] = ContextVar("role")
"""Whose session runs. A broker that takes connections may still answer nothing: only who has set up a session knows."""


async def supervise(url: str, role: str, session: Callable[[AbstractConnection], Awaitable[None]]) -> None:
    """Keeps a connection up for ever and runs `session` on it; when either ends, drops both and connects again, soon."""
    _role.set(role)
    _up.labels(role).set(0)  # known from the start: where RabbitMQ was away all along, an alert would else see nothing
    delay = 0.5
    while True:
        began = time.monotonic()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await aio_pika.connect(url, heartbeat=HEARTBEAT_SECONDS, client_properties={"connection_name": role})
        except Exception as error:
            log.warning("rabbitmq.away", role=role, error=f"{type(error).__name__}: {error}", retry_in=round(delay, 1))
        else:
            log.info("rabbitmq.connected", role=role)
            try:
                await _run_until_closed(connection, session)
            except Exception as error:
                log.warning("rabbitmq.lost", role=role, error=f"{type(error).__name__}: {error}")
            finally:
                _up.labels(role).set(0)
                with contextlib.suppress(Exception):
                    async with asyncio.timeout(2):
                        await connection.close()
        if time.monotonic() - began > SETUP_SECONDS:  # it worked for a while, so this is another trouble than the last one
            delay = 0.5
        await asyncio.sleep(delay * random.uniform(0.5, 1.5))  # noqa: S311  jitter, no secret
        delay = min(delay * 2, LONGEST_DELAY_SECONDS)


async def _run_until_closed(connection: AbstractConnection, session: Callable[[AbstractConnection], Awaitable[None]]) -> None:
    # Not connection.closed(): in aio-pika 10 it tells of our own close() only, never of a connection that was lost.
    lost = asyncio.Event()
    connection.close_callbacks.add(lambda *_: lost.set())
    closed = asyncio.ensure_future(lost.wait())
    work = asyncio.ensure_future(session(connection))
    try:
        await asyncio.wait({closed, work}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
    finally:
        for task in (work, closed):
            task.cancel()
        await asyncio.gather(work, closed, return_exceptions=True)


def _works() -> None:
    if role := _role.get(None):
        _up.labels(role).set(1)


async def declare(channel: AbstractChannel, queue: str) -> AbstractQueue:
    """Declares a durable quorum queue. Its limits and its dead letters come from a policy, as arguments could never change."""
    return await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})


@contextlib.asynccontextmanager
async def publisher(connection: AbstractConnection, queue: str) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
    """A function that publishes one persistent message to `queue` and returns once the broker has confirmed it.

    It raises where the message was returned, rejected, or not confirmed in CONFIRM_SECONDS; then the connection should be dropped.
    The broker has confirmed two by then, to nobody: in an alarm it takes connections and the first message of each, and reads
    nothing after that.
    """
    async with asyncio.timeout(SETUP_SECONDS):
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        await declare(channel, queue)
    async with asyncio.timeout(CONFIRM_SECONDS):
        for _ in range(2):
            await channel.default_exchange.publish(aio_pika.Message(b""), NOBODY, mandatory=False)

    async def publish(body: bytes) -> None:
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, type=queue)
        async with asyncio.timeout(CONFIRM_SECONDS):
            confirmation = await channel.default_exchange.publish(message, queue, mandatory=True)
        if not isinstance(confirmation, Basic.Ack):
            raise RuntimeError(f"the broker answered {confirmation!r}")

    _works()
    yield publish


async def consume(
    connection: AbstractConnection,
    queue: str,
    prefetch: int,
    deliver: Callable[[AbstractIncomingMessage], Awaitable[None]],
) -> None:
    """Delivers messages until the connection or the consumer is lost, and raises then. The receiver acknowledges explicitly.

    The broker may cancel a consumer while the connection stays healthy (its queue moved or was deleted): a watchdog looks.
    """
    cancelled = asyncio.Event()
    async with asyncio.timeout(SETUP_SECONDS):
        channel = await connection.channel()
        await channel.set_qos(prefetch)
        declared = await declare(channel, queue)
        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(lambda *_: cancelled.set())
        tag = await declared.consume(deliver)
    _works()
    consumers = cast(aiormq.Channel, underlay).consumers  # the abstract class does not show them
    while not cancelled.is_set():
        if tag not in consumers or channel.is_closed:
            raise RuntimeError("the consumer is gone")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WATCHDOG_SECONDS):
                await cancelled.wait()
    raise RuntimeError("the broker cancelled the consumer")
