"""What the machine itself gives, in the same run: commits, confirms, calls and requests with nothing around them."""

import asyncio
import json
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aio_pika
import asyncpg
import grpc

import ports
import probes
from bench.load import Load, same_imports
from bench.measure import answered
from bench.meter import between
from bench.records import Sample
from bench.run import WARM_UP_SECONDS, Run
from bench.subjects import BODY

ROWS_PER_COMMIT = 100
IN_FLIGHT = 100
MESSAGE = b"x" * 331
"""As large as a job's envelope once was."""

SUBJECT = "limit"


class Nobody:
    """What owns no process of ours: a bare server, on a port."""

    name = SUBJECT
    keys = ()

    def __init__(self, port: int) -> None:
        """On this machine."""
        self.port = port

    def owns(self, process: str) -> bool:
        """As Subject."""
        return process == "bare"

    async def counters(self) -> dict[str, float]:
        """As Subject."""
        return {}


async def row_limits(run: Run) -> None:
    """All of them, a round of each after the other."""
    for number in range(run.settings.rounds):
        run.say(f"limits, round {number + 1} of {run.settings.rounds}")
        for connections in (1, 2):
            sample = await _for_a_while(run, lambda count, connections=connections: _commits(run, count, connections))
            run.book.add("limits", f"rows, {ROWS_PER_COMMIT} a commit, {connections} connections", SUBJECT, "rows/s", sample)
        sample = await _for_a_while(run, lambda count: _confirms(run, count))
        run.book.add("limits", f"messages with confirms, {IN_FLIGHT} in flight", SUBJECT, "messages/s", sample)
        async with _bare_server(run, "echo") as port:
            sample = await _for_a_while(run, lambda count: _calls(port, count))
        run.book.add("limits", "grpc.aio echo, 64 in flight", SUBJECT, "calls/s", sample)
        for application, method in (("starlette", "POST"), ("fastapi", "POST"), ("starlette", "GET")):
            sample = await bare_requests(run, application, method)
            run.book.add("limits", hello(application, method), SUBJECT, "requests/s", sample)


async def bare_requests(run: Run, application: str, method: str) -> Sample:
    """What a bare server of that kind answers."""
    timed = {"seconds": run.settings.seconds, "warm_up": WARM_UP_SECONDS}
    body = BODY if method == "POST" else ""
    async with _bare_server(run, application) as port:
        return await answered(run, Nobody(port), Load(port, ["/"], method, (), body, 64, **timed))  # type: ignore[arg-type]


def hello(application: str, method: str) -> str:
    """The line of a bare server."""
    return f"{application} hello, {method}, 64 clients"


async def _for_a_while(run: Run, work: Callable[[Callable[[], bool]], Awaitable[int]]) -> Sample:
    """How much of something is done a second; `work` goes on while it is told to, and returns how much it did."""
    until = time.perf_counter() + run.settings.seconds
    before, began = run.rig.meter.read(), time.perf_counter()
    done = await work(lambda: time.perf_counter() < until)
    seconds = time.perf_counter() - began
    return Sample(done / seconds, foreign=between(before, run.rig.meter.read()).foreign)


async def _commits(run: Run, goes_on: Callable[[], bool], connections: int) -> int:
    url = run.rig.ours.stack.services.database_url
    insert = (
        "INSERT INTO bare SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS i (id, prompt, model, parameters)"
    )

    async def one(connection: asyncpg.Connection) -> int:
        done = 0
        while goes_on():
            ids = [uuid.uuid4() for _ in range(ROWS_PER_COMMIT)]
            columns = [[text] * ROWS_PER_COMMIT for text in ("a lighthouse at dusk", "owner/name", '{"seed": 1}')]
            await connection.execute(insert, ids, *columns)
            done += ROWS_PER_COMMIT
        return done

    pool = await asyncpg.create_pool(url, min_size=connections, max_size=connections)
    try:
        await pool.execute("DROP TABLE IF EXISTS bare")
        await pool.execute("CREATE TABLE bare (id uuid PRIMARY KEY, prompt text, model text, parameters text)")
        acquired = [await pool.acquire() for _ in range(connections)]
        done = await asyncio.gather(*map(one, acquired))
        for connection in acquired:
            await pool.release(connection)
        await pool.execute("DROP TABLE bare")
        return sum(done)
    finally:
        await pool.close()


async def _confirms(run: Run, goes_on: Callable[[], bool]) -> int:
    async with await aio_pika.connect(run.rig.ours.stack.services.amqp_url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        queue = await channel.declare_queue("bare", durable=True, arguments={"x-queue-type": "quorum"})

        async def one() -> int:
            done = 0
            while goes_on():
                message = aio_pika.Message(MESSAGE, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                await channel.default_exchange.publish(message, queue.name)
                done += 1
            return done

        done = sum(await asyncio.gather(*[one() for _ in range(IN_FLIGHT)]))
        await queue.delete(if_unused=False, if_empty=False)
        return done


async def _calls(port: int, goes_on: Callable[[], bool]) -> int:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        echo = channel.unary_unary("/bare.Echo/Echo")

        async def one() -> int:
            done = 0
            while goes_on():
                await echo(MESSAGE)
                done += 1
            return done

        return sum(await asyncio.gather(*[one() for _ in range(64)]))


@asynccontextmanager
async def _bare_server(run: Run, kind: str) -> AsyncIterator[int]:
    """A server of bare.py in a process of its own, as its port."""
    port = ports.any_free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.bare", kind, str(port), env=same_imports())
    try:
        async with asyncio.timeout(30):
            while not probes.accepts_connections(port):
                assert process.returncode is None, f"bench.bare {kind} has ended: {json.dumps(process.returncode)}"
                await asyncio.sleep(0.05)
        run.rig.others["bare"] = process.pid
        yield port
    finally:
        run.rig.others.pop("bare", None)
        if process.returncode is None:
            process.terminate()
            await process.wait()
