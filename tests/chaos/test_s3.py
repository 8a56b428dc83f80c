"""S3 is away for long, answers 503, or is slow: jobs wait, nothing is begun that could not be stored, nothing is paid twice."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from chaos.experiment import Experiment
from object_store import ObjectStore
from waiting import holds, until

REFUSING_SECONDS = 15.0
"""Minutes at the protocol's real times: a lease is 3 s here."""

OVERLOADED = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@contextlib.asynccontextmanager
async def away(experiment: Experiment, object_store: ObjectStore) -> AsyncIterator[None]:
    """The server does not run."""
    await asyncio.to_thread(object_store.kill)
    try:
        yield
    finally:
        object_store.start()
        await asyncio.to_thread(object_store.wait)


@contextlib.asynccontextmanager
async def overloaded(experiment: Experiment, object_store: ObjectStore) -> AsyncIterator[None]:
    """Every request is answered with 503, once its body has begun to come."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            if await reader.read(1024):
                writer.write(OVERLOADED)
                await writer.drain()
        writer.close()

    refusing = await asyncio.start_server(refuse, "127.0.0.1", 0)
    address: tuple[str, int] = refusing.sockets[0].getsockname()
    links = [experiment.links.generator_s3, experiment.links.gateway_s3]
    usual = [link.target for link in links]
    for link in links:
        link.target = lambda: address
        link.reset()
    try:
        yield
    finally:
        for link, target in zip(links, usual, strict=True):
            link.target = target
            link.reset()
        refusing.close()


async def test_while_s3_refuses_nothing_is_begun_and_all_is_completed_after_its_return(start, object_store: ObjectStore):
    experiment: Experiment = start(generators=2, SIMULATOR_PREDICT_SECONDS="3")

    async def nobody_writes() -> bool:
        return not any([await experiment.metric(f"generator-{number}", "mediagen_generator_bucket_up") for number in (1, 2)])

    for what, fault in (("S3, which was away", away), ("S3, which was overloaded", overloaded)):
        await experiment.completes("first", within=60)
        under_way = await experiment.post(10, "under way")
        paid = len(experiment.recorder.accepted)
        await until(lambda: experiment.creates_are(paid), 60, what="the jobs to be paid for")  # noqa: B023
        async with fault(experiment, object_store):
            await until(nobody_writes, 30, what="each generator to notice")
            waiting = await experiment.post(5, "waiting")
            await holds(lambda: experiment.creates_are(paid), REFUSING_SECONDS, what="nothing is paid for")  # noqa: B023
        experiment.note(f"return of {what} to the next completed job", await experiment.completes("next", within=60))
        await experiment.completed(under_way + waiting, within=60)
    await experiment.all_is_well()


async def test_with_a_slow_s3_jobs_take_longer_and_nothing_else_happens(start):
    experiment: Experiment = start(generators=2)
    slow = (experiment.links.generator_s3, experiment.links.gateway_s3)
    for link in slow:
        link.latency(0.5)
        link.bandwidth(200_000)
    await experiment.completed(await experiment.post(6, "slowly"), within=120)
    for link in slow:
        link.heal()
    await experiment.all_is_well()
