"""The relay and the bell together, on a real RabbitMQ: what they do at the end of their service."""

import asyncio

import aio_pika
import pytest

from driver import driving
from jobs.bell import QUEUE, Bell
from jobs.relay import Relay
from mediagen.jobs.v1.ready_pb2 import JobsReady
from waiting import until

JOBS = 50


async def rung(amqp_url: str) -> list[str]:
    """The ids of all jobs that were rung for and heard by nobody."""
    ids: list[str] = []
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(QUEUE)
        while message := await queue.get(fail=False):
            ids += JobsReady.FromString(message.body).job_ids
    return ids


async def test_a_drain_ends_with_the_look_under_way_and_every_ring_of_it_confirmed(postgres_url, amqp_url):
    async with driving(postgres_url) as driver:
        bell = Bell(amqp_url)
        relay = Relay(driver.store, bell, interval=60)
        running = [asyncio.create_task(work) for work in (bell.run(), relay.run())]
        await until(lambda: bell.up)
        await driver.store.note_workers([(driver.worker, JOBS, JOBS, False, 0, False)])
        due = {str(await driver.add()) for _ in range(JOBS)}
        relay.wake()
        await relay.drain()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    assert sorted(await rung(amqp_url)) == sorted(due)


async def test_a_drain_waits_for_no_broker_that_is_away(postgres_url):
    async with driving(postgres_url) as driver:
        relay = Relay(driver.store, Bell("amqp://nobody:nothing@127.0.0.1:1/none"), interval=60)
        running = asyncio.create_task(relay.run())
        async with asyncio.timeout(2):
            await relay.drain()
            await running


@pytest.mark.parametrize(("slots", "locked"), [(0, 1), (4, 4 + 32)])
async def test_a_look_locks_no_more_rows_than_there_is_room_for(postgres_url, slots, locked):
    async with driving(postgres_url) as driver:
        if slots:
            await driver.store.note_workers([(driver.worker, slots, slots, False, 0, False)])
        for _ in range(JOBS):
            await driver.add()
        # Who locked or wrote a row last is in its hidden columns.
        marks = "SELECT id, xmin::text || ' ' || xmax::text AS mark FROM jobs"
        before = {row["id"]: row["mark"] for row in await driver.database.fetch(marks)}
        credit, backlog, rung = await driver.store.ring()
        after = {row["id"]: row["mark"] for row in await driver.database.fetch(marks)}
    assert (credit, backlog, len(rung)) == (0, True, slots)
    assert sum(after[job] != before[job] for job in before) == locked
