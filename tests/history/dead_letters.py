"""What lies in a queue that nobody consumes, without taking it out."""

import base64

import aio_pika

LIMIT = 1000


async def dead_letters(amqp_url: str, queue: str) -> list[str]:
    """The bodies of its messages in base64, at most LIMIT; the messages go back when the channel closes."""
    connection = await aio_pika.connect(amqp_url, timeout=10)
    async with connection:
        channel = await connection.channel()
        declared = await channel.get_queue(queue)
        bodies: list[str] = []
        while len(bodies) < LIMIT and (message := await declared.get(fail=False)) is not None:
            bodies.append(base64.b64encode(message.body).decode())
        return bodies
