"""The main job, end to end: real processes, a real database, broker and bucket, the simulator in Replicate's place."""

import asyncio
import hashlib
from typing import Any

import httpx

from servers import Bucket
from stack import Stack
from waiting import until


async def finished(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    """The job once its status is final."""

    async def ended() -> dict[str, Any] | None:
        job: dict[str, Any] = (await client.get(f"/api/v1/status/{job_id}")).json()
        return job if job["status"] in ("completed", "failed", "canceled") else None

    job = await until(ended, seconds=60)
    assert job is not None
    return job


async def test_a_prompt_becomes_a_picture_that_is_paid_once(stack: Stack, s3: Bucket) -> None:
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    async with httpx.AsyncClient(base_url=stack.gateway_url, headers=headers, trust_env=False) as client:
        accepted = await client.post("/api/v1/generate", json={"prompt": "a lighthouse at dusk"})
        assert accepted.status_code == 202
        job = await finished(client, accepted.json()["id"])
        assert (job["status"], job["error_message"], job["retry_count"]) == ("completed", None, 0)
        [output] = job["outputs"]

        del client.headers["Authorization"]  # a media_url is a capability: it works in an <img>
        picture = await client.get(job["media_url"])
        assert picture.status_code == 200
        assert picture.headers["content-type"] == output["content_type"]
        assert hashlib.sha256(picture.content).hexdigest() == output["sha256"]

        ledger = (await client.get(f"{stack.simulator_url}/control/ledger")).json()
        assert ledger["creates"] == 1


async def test_a_generator_that_is_killed_costs_nobody_a_job_or_a_second_payment(start_stack: Any) -> None:
    stack: Stack = start_stack(generators=1, JOBS_TIME_SCALE="0.1", SIMULATOR_PREDICT_SECONDS="3")
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    async with httpx.AsyncClient(base_url=stack.gateway_url, headers=headers, trust_env=False) as client:
        posts = [client.post("/api/v1/generate", json={"prompt": f"boat {number}"}) for number in range(5)]
        ids = [post.json()["id"] for post in await asyncio.gather(*posts)]

        async def all_created() -> bool:
            return (await client.get(f"{stack.simulator_url}/control/ledger")).json()["creates"] >= len(ids)

        await until(all_created, seconds=30)
        stack.kill("generator-1")
        await asyncio.to_thread(stack.add_generator)
        jobs = await asyncio.gather(*(finished(client, job_id) for job_id in ids))
        assert [job["status"] for job in jobs] == ["completed"] * len(ids)
        assert (await client.get(f"{stack.simulator_url}/control/ledger")).json()["creates"] == len(ids)
