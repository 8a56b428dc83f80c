"""An application in a test, with a look behind the scenes at the simulator that plays Replicate."""

import asyncio
import time
from typing import Any

import aiohttp

from stack import Stack

FINAL = {"completed", "failed", "canceled"}


class Client:
    """Posts jobs through the gateway, and reads and breaks the simulator."""

    def __init__(self, stack: Stack, http: aiohttp.ClientSession) -> None:
        self._stack = stack
        self._http = http
        self._headers = {"Authorization": f"Bearer {stack.api_key}"}

    async def post(self, **job: Any) -> str:
        """Posts a job and returns its id."""
        body = {"prompt": "a lighthouse at dusk", "model": "black-forest-labs/flux-schnell", **job}
        async with self._http.post(f"{self._stack.gateway_url}/api/v1/jobs", json=body, headers=self._headers) as response:
            answer = await response.json()
            assert response.status == 202, answer
            return str(answer["id"])

    async def job(self, job_id: str) -> dict[str, Any]:
        async with self._http.get(f"{self._stack.gateway_url}/api/v1/jobs/{job_id}", headers=self._headers) as response:
            return dict(await response.json())

    async def finished(self, job_id: str, seconds: float = 60) -> dict[str, Any]:
        """The job in its final status."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if (job := await self.job(job_id))["status"] in FINAL:
                return job
            await asyncio.sleep(0.1)
        raise AssertionError(f"not finished after {seconds} s: {job}")

    async def output(self, job: dict[str, Any], index: int = 0) -> bytes:
        async with self._http.get(job["outputs"][index]["url"], headers=self._headers) as response:
            assert response.status == 200, await response.text()
            return await response.read()

    async def ledger(self) -> dict[str, Any]:
        async with self._http.get(f"{self._stack.simulator_url}/control/ledger") as response:
            return dict(await response.json())

    async def faults(self, *faults: dict[str, Any]) -> None:
        async with self._http.put(f"{self._stack.simulator_url}/control/faults", json={"rules": faults}) as response:
            assert response.status < 300, await response.text()
