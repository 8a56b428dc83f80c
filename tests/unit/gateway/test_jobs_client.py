import asyncio

import pytest

from chassis.errors import AppError
from gateway.caller import Caller
from gateway.jobs_client import BATCH, KEYS
from mediagen.jobs.v1 import jobs_pb2


async def test_the_largest_batch_with_the_longest_ids_passes_the_metadata_limit(gateway):
    async def create(number: int):
        caller = Caller("Bearer mg_test", f"{number:0128}", f"00-{number + 1:032x}-{1:016x}-01")
        return await gateway.client.create(caller, jobs_pb2.JobSpec(prompt="x"), f"request-{number}")

    answers = await asyncio.gather(*(create(number) for number in range(4 * BATCH)))
    assert len({answer.job.id for answer in answers}) == 4 * BATCH
    assert len(gateway.jobs.calls["BatchCreateJobs"]) == 4


async def test_the_batchers_of_keys_that_are_not_used_make_room(gateway):
    job = gateway.jobs.add()
    await gateway.client.get(Caller("Bearer mg_test", "r"), job.id)
    for number in range(KEYS + 5):
        with pytest.raises(AppError):
            await gateway.client.get(Caller(f"Bearer {number}", "r"), job.id)
    assert len(gateway.client._batches) == KEYS
    assert (await gateway.client.get(Caller("Bearer mg_test", "r"), job.id)).id == job.id
