"""The servers that every other integration test stands on."""

import aio_pika
import asyncpg
import pytest
from minio import Minio

from postgresql import PostgreSQL
from rabbitmq import RabbitMQ
from servers import Bucket

QUEUE = "mediagen.jobs.v1.JobsReady"


async def test_every_test_has_a_database_of_its_own(empty_postgres_url: str) -> None:
    connection = await asyncpg.connect(empty_postgres_url)
    try:
        await connection.execute("CREATE TABLE mark (n int)")  # would fail if an earlier test's table were there
        assert await connection.fetchval("SELECT count(*) FROM mark") == 0
    finally:
        await connection.close()


async def test_postgresql_keeps_its_data_when_it_is_killed(postgresql: PostgreSQL, empty_postgres_url: str) -> None:
    connection = await asyncpg.connect(empty_postgres_url)
    await connection.execute("CREATE TABLE mark (n int)")
    postgresql.kill()
    assert postgresql.pid() is None
    connection.terminate()
    postgresql.start()
    postgresql.wait()
    connection = await asyncpg.connect(empty_postgres_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM mark") == 0
    finally:
        await connection.close()


async def test_a_virtual_host_has_the_projects_queues_and_policy(rabbitmq: RabbitMQ, amqp_url: str) -> None:
    vhost = amqp_url.rpartition("/")[2]
    listed = rabbitmq.control("list_queues", "-p", vhost, "name", "type", "policy", "--no-table-headers")
    assert sorted(line.split("\t") for line in listed.splitlines()) == [
        [QUEUE, "quorum", "JobsReady"],
        [f"{QUEUE}.dead", "quorum", ""],
    ]


async def test_a_message_survives_the_death_of_rabbitmq(rabbitmq: RabbitMQ, amqp_url: str) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        await channel.default_exchange.publish(aio_pika.Message(b"42"), routing_key=QUEUE)
    rabbitmq.sync()
    rabbitmq.kill()
    with pytest.raises(OSError):
        await aio_pika.connect(amqp_url)
    rabbitmq.start()
    rabbitmq.wait()
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        message = await queue.get(timeout=10)
        assert message is not None and message.body == b"42"
        await message.ack()


def test_a_bucket_is_there_and_empty(s3: Bucket) -> None:
    endpoint = s3.endpoint.removeprefix("http://")
    client = Minio(endpoint=endpoint, access_key=s3.access_key, secret_key=s3.secret_key, secure=False, region=s3.region)
    assert client.bucket_exists(bucket_name=s3.bucket)
    assert not list(client.list_objects(bucket_name=s3.bucket))
