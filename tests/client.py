"""What a test says to a running system as its users would; and the simulator's ledger and faults."""

import asyncio
from typing import Any

import httpx

from stack import Stack
from waiting import until

FINAL = {"completed", "failed", "canceled"}


class Client:
    """REST with a key of the tenant `tests`, and the simulator's control interface."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.http = httpx.AsyncClient(
            base_url=stack.gateway_url,
            headers={"authorization": f"Bearer {stack.api_key}"},
            timeout=30,
            limits=httpx.Limits(max_connections=50),
        )

    async def post(self, prompt: str = "a lighthouse at dusk", **fields: Any) -> str:
        """Posts a job and returns its id."""
        answer = await self.http.post("/api/v1/jobs", json={"prompt": prompt, **fields})
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    async def post_many(self, prompts: list[str], **fields: Any) -> list[str]:
        gate = asyncio.Semaphore(20)

        async def one(prompt: str) -> str:
            async with gate:
                return await self.post(prompt, **fields)

        return await asyncio.gather(*[one(prompt) for prompt in prompts])

    async def job(self, job_id: str) -> dict[str, Any]:
        answer = await self.http.get(f"/api/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def until(self, job_id: str, condition, seconds: float = 60) -> dict[str, Any]:
        """The job as it is once the condition holds of it."""

        async def job() -> dict[str, Any] | None:
            nonlocal seen
            seen = await self.job(job_id)
            return seen if condition(seen) else None

        seen: dict[str, Any] = {}
        try:
            return await until(job, seconds)
        except AssertionError:
            raise AssertionError(f"still {seen}") from None

    async def finished(self, job_id: str, seconds: float = 60) -> dict[str, Any]:
        return await self.until(job_id, lambda job: job["status"] in FINAL, seconds)

    async def count(self, status: str) -> int:
        """How many of the tenant's jobs have this status."""
        total, token = 0, ""
        while True:
            answer = await self.http.get("/api/v1/jobs", params={"status": status, "page_size": 200, "page_token": token})
            page = answer.raise_for_status().json()
            total += len(page["jobs"])
            if not (token := page["next_page_token"] or ""):
                return total

    async def all_finished(self, jobs: int, seconds: float) -> None:
        async def finished() -> bool:
            return sum([await self.count(status) for status in FINAL]) >= jobs

        await until(finished, seconds, what=f"{jobs} jobs are finished")

    async def output(self, job: dict[str, Any], index: int = 0) -> bytes:
        return (await self.http.get(job["outputs"][index]["url"])).raise_for_status().content

    async def ledger(self) -> dict[str, Any]:
        return (await self.http.get(f"{self.stack.simulator_url}/control/ledger")).raise_for_status().json()

    async def faults(self, *rules: dict[str, Any]) -> None:
        answer = await self.http.put(f"{self.stack.simulator_url}/control/faults", json={"rules": list(rules)})
        assert answer.status_code == 200, answer.text
