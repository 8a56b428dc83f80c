"""`helm test`: the gateway is ready and, with the simulator, one job gets from its prompt to its picture through REST.

Runs in the image of jobs, which can make an API key; the key is revoked at the end. Nothing that is sent is sent twice.
"""

import asyncio
import os
import sys
import time

import aiohttp

from chassis.settings import load_settings
from jobs import keys
from jobs.database import Database
from jobs.settings import DatabaseSettings

URL = os.environ["GATEWAY_URL"]
SECONDS = 180
TENANT = "helm-test"


async def one_job(session: aiohttp.ClientSession, key: str) -> str:
    """Posts a job, waits for its end and reads its picture; returns what it found. Raises AssertionError where that is wrong."""
    headers = {"Authorization": f"Bearer {key}"}
    async with session.post(f"{URL}/api/v1/generate", json={"prompt": "a lighthouse at dusk"}, headers=headers) as response:
        assert response.status == 202, await response.text()
        job_id = (await response.json())["id"]
    deadline = time.monotonic() + SECONDS
    while True:
        async with session.get(f"{URL}/api/v1/status/{job_id}", headers=headers) as response:
            assert response.status == 200, await response.text()
            job = await response.json()
        if job["status"] not in ("pending", "processing"):
            break
        assert time.monotonic() < deadline, f"not done within {SECONDS} s: {job}"
        await asyncio.sleep(0.5)
    assert job["status"] == "completed", job
    # The link's host is the one that this pod called the gateway by.
    async with session.get(job["media_url"]) as response:
        picture = await response.read()
        assert response.status == 200 and response.content_type.startswith("image/") and picture, response.status
        return f"job {job_id}: {len(picture)} bytes of {response.content_type}"


async def main() -> None:
    """The whole test."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        async with session.get(f"{URL}/readyz") as response:
            assert response.status == 200, await response.text()
        if not os.environ.get("MAKE_A_JOB"):
            print("the gateway is ready")
            return
        database = Database(str(load_settings(DatabaseSettings).database_url), pool_size=2)
        try:
            key = await keys.create_key(database.engine, TENANT, "helm test")
            try:
                print(await one_job(session, key))
            finally:
                for row in await keys.list_keys(database.engine):
                    if row[1] == TENANT and row[3] == key[:9]:
                        await keys.revoke_key(database.engine, row[0])
        finally:
            await database.close()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except AssertionError as wrong:
        sys.exit(f"failed: {wrong}")
