"""aio-pika 10 and aiormq 7 with a real RabbitMQ: what `chassis/rabbit.py` and `generator/bells.py` rely on, and what they avoid."""

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractConnection, AbstractQueue
from pamqp.commands import Basic

from chassis import rabbit
from rabbitmq import RabbitMQ
from waiting import until

SERVICES = Path(__file__).resolve().parents[2] / "services"

BIG = b"\0" * 48 * 1024 * 1024
"""More than the sockets of a connection on loopback hold in their buffers."""


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[AbstractConnection]:
    connection = await aio_pika.connect(url, heartbeat=rabbit.HEARTBEAT_SECONDS)
    try:
        yield connection
    finally:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(5):
                await connection.close()


@contextlib.contextmanager
def stopped(broker: RabbitMQ) -> Iterator[None]:
    """The broker lives and its connections stand, but it does nothing: as behind a network that swallows everything."""
    pid = broker.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def queue_of(connection: AbstractConnection, **arguments: str) -> AbstractQueue:
    """A queue of the test's own, that goes with its virtual host."""
    channel = await connection.channel()
    return await channel.declare_queue(f"trap-{uuid4()}", durable=True, arguments=arguments)


async def test_q1_a_consumer_that_the_broker_cancels_is_told_so_while_its_connection_stays_healthy(amqp_url: str) -> None:
    """A broker cancels a consumer whose queue was deleted, or has lost its leader. Nothing closes: the process looks well and is
    deaf.

    Since aiormq 7 `on_consumer_cancel_callbacks` tells; before, only the consumer's absence from `consumers` did. `rabbit.consume`
    heeds both and raises, and the supervisor connects anew. Where this fails because nothing was called, the watchdog over
    `consumers` is what is left, 5 s slower; where the consumer stayed in `consumers`, the watchdog is blind and needs another
    sign. Where the channel was closed, all is simpler.
    """
    async with connected(amqp_url) as listening, connected(amqp_url) as deleting:
        queue = await queue_of(listening)
        underlay = await queue.channel.get_underlay_channel()
        told: list[str | None] = []
        underlay.on_consumer_cancel_callbacks.add(lambda frame: told.append(frame.consumer_tag))

        async def deliver(_: object) -> None: ...

        tag = await queue.consume(deliver)
        assert tag in underlay.consumers
        await (await deleting.channel()).queue_delete(queue.name)
        await until(lambda: told)
        assert told == [tag]
        assert tag not in underlay.consumers
        assert not listening.is_closed and not underlay.is_closed


async def test_a_connection_that_was_lost_shows_in_its_callbacks_and_not_in_closed(amqp_url: str, rabbitmq: RabbitMQ) -> None:
    """In aio-pika 10, `connection.closed()` ends after our own close() alone, however dead the connection is.

    `rabbit.supervise` therefore waits for `close_callbacks`. Where this fails because `closed()` ended, it could wait for that
    again; where no callback came, the supervisor is deaf, and has to look at the transport itself.
    """
    async with connected(amqp_url) as connection:
        lost = asyncio.Event()
        connection.close_callbacks.add(lambda *_: lost.set())
        closed = asyncio.ensure_future(connection.closed())
        await asyncio.to_thread(rabbitmq.control, "close_all_connections", "--global", "a trap")
        await until(lost.is_set)
        assert not closed.done() and not connection.is_closed
        await connection.close()
        async with asyncio.timeout(10):
            assert await closed


async def test_q5_process_rejects_for_good_what_a_cancelled_task_was_working_on(amqp_url: str) -> None:
    """`message.process()` rejects without requeue on any exception, CancelledError among them: a shutdown throws good work away.

    We acknowledge, give back and reject by name, and never use it. Where this fails because the message came back, a release has
    changed the default of `requeue`; the ban can stay.
    """
    async with connected(amqp_url) as connection:
        dead = await queue_of(connection)
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead.name}
        queue = await queue_of(connection, **arguments)
        await queue.channel.default_exchange.publish(aio_pika.Message(b"work"), queue.name)
        message = await queue.get()
        began = asyncio.Event()

        async def work() -> None:
            async with message.process():
                began.set()
                await asyncio.Event().wait()

        working = asyncio.create_task(work())
        await began.wait()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        thrown_away = await until(lambda: dead.get(fail=False))
        assert thrown_away.body == b"work"
        assert await queue.get(fail=False) is None
        await thrown_away.ack()
    used = re.compile(r"\.process\(|\.iterator\(")  # a queue's iterator processes too
    assert [module.name for module in SERVICES.rglob("*.py") if used.search(module.read_text())] == []


async def test_q6_a_message_that_reaches_no_queue_is_a_success_unless_the_channel_says_otherwise(amqp_url: str) -> None:
    """`publish(mandatory=True)` to a queue that does not exist returns the message, as if it were an answer; only with
    `on_return_raises=True` it raises.

    `rabbit.publisher` asks for that, and takes nothing but Basic.Ack for a confirm: a bell whose queue is gone counts as broken,
    and the supervisor declares it again. Where the first half fails, the default has changed for the better; where the second
    does, a lost queue goes unnoticed, and rings go nowhere until the sweeper rings again.
    """
    async with connected(amqp_url) as connection:
        gone = f"gone-{uuid4()}"
        trusting = await connection.channel()
        answer = await trusting.default_exchange.publish(aio_pika.Message(b""), gone, mandatory=True)
        assert answer is not None and not isinstance(answer, Basic.Ack)
        strict = await connection.channel(on_return_raises=True)
        with pytest.raises(aio_pika.exceptions.DeliveryError):
            await strict.default_exchange.publish(aio_pika.Message(b""), gone, mandatory=True)


async def test_q7_the_timeout_of_a_publish_covers_a_socket_that_takes_nothing(amqp_url: str, rabbitmq: RabbitMQ) -> None:
    """A broker that reads no more fills the socket. Since aiormq 7 the timeout of a publish covers this too, and the next
    publisher does not wait behind its lock for ever.

    `rabbit.publisher` bounds every publish by a timeout of its own all the same, and the connection is dropped then. Where this
    fails, the outer timeout is what holds, and a publisher that others wait behind must not be cancelled but its connection
    closed.
    """
    async with connected(amqp_url) as connection:
        queue = await queue_of(connection)
        with stopped(rabbitmq):
            for body in (BIG, b"behind it"):
                began = time.monotonic()
                async with asyncio.timeout(20):
                    with pytest.raises(TimeoutError):
                        await queue.channel.default_exchange.publish(aio_pika.Message(body), queue.name, timeout=1)
                assert time.monotonic() - began < 15


async def test_q7_our_publisher_gives_a_silent_broker_up(
    amqp_url: str, rabbitmq: RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above, through `rabbit.publisher`, with a body that gets through to a broker that does not confirm, and with one that
    does not.

    Where this fails, `asyncio.timeout` around a publish no longer ends it: the bell would hang with its broker.
    """
    monkeypatch.setattr(rabbit, "CONFIRM_SECONDS", 1.0)
    for body in (b"small", BIG):
        async with connected(amqp_url) as connection, rabbit.publisher(connection, f"trap-{uuid4()}") as publish:
            with stopped(rabbitmq):
                async with asyncio.timeout(20):
                    with pytest.raises(TimeoutError):
                        await publish(body)


async def test_q8_a_call_that_timed_out_closes_its_channel_and_gives_back_what_was_delivered_over_it(
    amqp_url: str, rabbitmq: RabbitMQ
) -> None:
    """Every declare, qos, consume or cancel that is cancelled or times out closes its channel, with all that is unacknowledged on
    it.

    `rabbit` makes such calls once, while it sets a connection up, and drops the whole connection where one fails: nothing is
    declared or counted on a channel that delivers. Where this fails because the channel stayed open, a late answer may be taken
    for that of the next call: drop the connection as before.
    """
    async with connected(amqp_url) as connection, connected(amqp_url) as other:
        queue = await queue_of(connection)
        await queue.channel.default_exchange.publish(aio_pika.Message(b"held"), queue.name)
        held = await queue.get()
        underlay = await queue.channel.get_underlay_channel()
        with stopped(rabbitmq):
            async with asyncio.timeout(20):
                with pytest.raises(TimeoutError):
                    await queue.channel.declare_queue(queue.name, passive=True, timeout=0.5)
        await until(lambda: underlay.is_closed)
        with pytest.raises(aio_pika.exceptions.ChannelInvalidStateError):
            await held.ack()
        again = await (await other.channel()).get_queue(queue.name)
        returned = await until(lambda: again.get(fail=False))
        assert returned.body == b"held" and returned.redelivered
        await returned.ack()
