"""Connections that fall silent: each client notices by itself, and works again soon after the network does."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable

import grpc
import pytest
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chaos.links import link_to, through
from chaos.proxy import Proxy, Way
from chassis import rabbit
from chassis.channel import channel
from chassis.errors import AppError
from chassis.rpc import serving_grpc
from chassis.settings import HostPort
from generator.bucket import StorageFailed, open_bucket
from jobs.database import Database
from ports import any_free_port
from servers import Bucket
from waiting import until

pytestmark = [pytest.mark.patient, pytest.mark.timeout(900)]

SILENCE_SECONDS = 5.0
WORKS_WITHIN = 25.0


async def for_each_silence(url: str, client: Callable[[Proxy, Way], Awaitable[None]]) -> None:
    """The same with both directions silent, and with either of them, at once."""
    with contextlib.ExitStack() as kept:
        ways = {way: kept.enter_context(link_to(url)) for way in (Way.BOTH, Way.UP, Way.DOWN)}
        async with asyncio.TaskGroup() as tasks:
            for way, link in ways.items():
                tasks.create_task(client(link, way))


async def works_again(works: Callable[[], Awaitable[bool]], link: Proxy, way: Way) -> None:
    """Spoils the link for a while; so soon after that all works."""
    link.black_hole(way)
    await asyncio.sleep(SILENCE_SECONDS)
    link.heal()
    began = time.monotonic()
    await until(works, 120)
    assert time.monotonic() - began < WORKS_WITHIN, way


async def test_all_of_a_pool_is_replaced_once_one_of_its_connections_to_postgresql_is_noticed(empty_postgres_url: str):
    async def client(link: Proxy, way: Way) -> None:
        database = Database(through(empty_postgres_url, link), 10)
        await asyncio.gather(*(database.fetch("SELECT pg_sleep(0.5)") for _ in range(10)))

        async def works() -> bool:
            with contextlib.suppress(AppError):
                return bool(await asyncio.gather(*(database.fetch("SELECT 1") for _ in range(20))))
            return False

        asked = asyncio.create_task(works())
        await works_again(works, link, way)
        await asked
        await database.close()

    await for_each_silence(empty_postgres_url, client)


async def test_a_silent_channel_to_a_server_is_made_anew():
    port = any_free_port()
    address = HostPort("127.0.0.1", port)

    async def nobody(token: str | None) -> None:
        return None

    async def client(link: Proxy, way: Way) -> None:
        async with channel(HostPort("127.0.0.1", link.port)) as to_server:
            health = health_pb2_grpc.HealthStub(to_server)

            async def works() -> bool:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await health.Check(health_pb2.HealthCheckRequest(), timeout=5, wait_for_ready=True)
                    return True
                return False

            assert await works()
            asked = asyncio.create_task(works())
            await works_again(works, link, way)
            await asked

    async with serving_grpc(address, [], lambda server: None, nobody, asyncio.Event(), drain_seconds=0.2):
        await for_each_silence(f"grpc://{address}", client)


async def test_silent_connections_to_rabbitmq_are_made_anew_on_both_sides_of_a_queue(amqp_url: str):
    async def client(link: Proxy, way: Way) -> None:
        queue, heard = f"test.{way}", itertools.count()
        last = next(heard)

        async def ring(connection: AbstractConnection) -> None:
            async with rabbit.publisher(connection, queue) as publish:
                while True:
                    await publish(b"")
                    await asyncio.sleep(0.2)

        async def deliver(message: AbstractIncomingMessage) -> None:
            nonlocal last
            await message.ack()
            last = next(heard)

        async def hears() -> bool:
            before = last
            await asyncio.sleep(0.5)
            return last > before

        sessions = (ring, lambda connection: rabbit.consume(connection, queue, 1, deliver))
        tasks = [asyncio.create_task(rabbit.supervise(through(amqp_url, link), "test", session)) for session in sessions]
        await until(hears)
        await works_again(hears, link, way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    await for_each_silence(amqp_url, client)


async def test_a_silent_bucket_is_noticed_while_nothing_is_stored_and_takes_objects_again(s3: Bucket):
    async def client(link: Proxy, way: Way) -> None:
        async with open_bucket(f"http://{link.address}", s3.access_key, s3.secret_key, s3.bucket, s3.region) as bucket:
            watching = asyncio.create_task(bucket.watch())
            await until(bucket.usable.is_set)

            async def works() -> bool:
                if bucket.usable.is_set():
                    with contextlib.suppress(StorageFailed):
                        await bucket.put(f"out/{way}", b"words", 5, "text/plain")
                        return True
                return False

            noticed = asyncio.create_task(until(lambda: not bucket.usable.is_set(), 15))
            await works_again(works, link, way)
            await noticed
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    await for_each_silence(s3.endpoint, client)
