"""A client that behaves as the API guide asks, and remembers everything that it was told."""

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from history.evidence import FINAL_STATUSES, Row
from history.system import System
from history.watches import Watches

TENANT = "tests"


class NotAccepted(AssertionError):
    """A job was refused for good, or no answer came in time."""


class NotFinished(AssertionError):
    """Jobs were not final in time."""


class Recorder:
    """Posts jobs and follows them over REST, as the tenant `tests` or another one that a call names."""

    def __init__(self, system: System, give_up_after: float = 180, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Takes a first sample of the processes' vitals; a create is repeated for `give_up_after` seconds.

        `transport` is another way to the gateway than the direct one.
        """
        self.system = system
        self.told: list[Row] = []
        self.vitals: list[Row] = system.vitals()
        self.accepted: dict[str, Row] = {}
        """The create's row of each accepted job, by id."""
        self.final: dict[str, str] = {}
        """The status of each job that is known to be final."""
        self.api_keys = {TENANT: system.api_key}
        self.watches = Watches(system.jobs_address, self.told)
        self._give_up_after = give_up_after
        self._http = httpx.AsyncClient(
            base_url=system.gateway_url,
            timeout=30,
            limits=httpx.Limits(max_connections=100, keepalive_expiry=5),
            transport=transport,
        )

    async def add_tenant(self, tenant: str) -> None:
        """Makes a key for the tenant; posts do so themselves, but not while PostgreSQL is away."""
        if tenant not in self.api_keys:
            self.api_keys[tenant] = await asyncio.to_thread(self.system.create_key, tenant)

    async def post(self, prompt: str, *, tenant: str = TENANT, key: str | None = None, **fields: Any) -> str:
        """Posts a job and returns its id: with an Idempotency-Key, and again after a 429, a 503, or a lost answer."""
        key = key or str(uuid.uuid4())
        deadline = time.monotonic() + self._give_up_after
        while True:
            note = await self.post_once(prompt, tenant=tenant, key=key, **fields)
            if note["status"] == 202:
                return note["job"]
            if note["status"] not in (None, 429, 503):
                raise NotAccepted(f"a create was answered with {note['status']}: {note.get('problem')}")
            if time.monotonic() > deadline:
                raise NotAccepted(f"no create was answered with 202 in {self._give_up_after} s; the last answer: {note}")
            await asyncio.sleep(min(5.0, float(note.get("retry_after") or 0.5)))

    async def post_once(self, prompt: str, *, tenant: str = TENANT, key: str | None = None, **fields: Any) -> Row:
        """Posts a job without patience, and returns what is noted of it: its `status` is None where no answer came."""
        key = key or str(uuid.uuid4())
        note: Row = {"kind": "create", "key": key, "prompt": prompt, "fields": fields}
        body = {"prompt": prompt, **fields}
        async with self._asking("POST", "/api/v1/jobs", tenant, note, json=body, headers={"Idempotency-Key": key}) as answer:
            if answer is not None and answer.status_code == 202:
                note["replayed"] = answer.headers.get("Idempotent-Replayed") == "true"
                self._note_job(note, answer.json())
        if note["status"] == 202:
            self.accepted.setdefault(note["job"], note)
        return note

    async def post_many(self, prompts: Iterable[str], **fields: Any) -> list[str]:
        """Posts a job for each prompt, 20 at a time, and returns their ids."""
        gate = asyncio.Semaphore(20)

        async def one(prompt: str) -> str:
            async with gate:
                return await self.post(prompt, **fields)

        return await asyncio.gather(*[one(prompt) for prompt in prompts])

    async def job(self, job_id: str) -> dict[str, Any] | None:
        """The job as it is told; None where no answer came, or it was an error."""
        note: Row = {"kind": "status", "job": job_id}
        view = None
        async with self._asking("GET", f"/api/v1/jobs/{job_id}", self._tenant(job_id), note) as answer:
            if answer is not None and answer.status_code == 200:
                view = answer.json()
                self._note_job(note, view)
        return view

    def watch(self, job_id: str) -> None:
        """Watches the job over gRPC until its end."""
        tenant = self._tenant(job_id)
        self.watches.open(job_id, tenant, self.api_keys[tenant])

    async def until(self, job_id: str, condition: Callable[[dict[str, Any]], bool], seconds: float = 60) -> dict[str, Any]:
        """The job as it is once the condition holds of it; raises NotFinished after so many seconds."""
        deadline = time.monotonic() + seconds
        while (view := await self.job(job_id)) is None or not condition(view):
            if time.monotonic() > deadline:
                raise NotFinished(f"after {seconds} s the job is still {view}")
            await asyncio.sleep(0.1)
        return view

    async def cancel(self, job_id: str) -> int | None:
        """Asks for the job's end; returns the status of the answer, None where there was none."""
        note: Row = {"kind": "cancel", "job": job_id}
        async with self._asking("POST", f"/api/v1/jobs/{job_id}:cancel", self._tenant(job_id), note) as answer:
            if answer is not None and answer.status_code == 200:
                self._note_job(note, answer.json())
        return note["status"]

    async def media(self, job_id: str, index: int) -> Row:
        """Reads an output with the key and notes the sha256 of what came."""
        note: Row = {"kind": "media", "job": job_id, "index": index}
        async with self._asking("GET", f"/api/v1/images/{job_id}/{index}", self._tenant(job_id), note) as answer:
            if answer is not None and answer.status_code == 200:
                note["sha256"] = hashlib.sha256(answer.content).hexdigest()
        return note

    async def look(self, tenant: str, statuses: Iterable[str]) -> dict[str, str]:
        """The status of each job of the tenant that is listed with one of these; raises ConnectionError where that breaks off."""
        shown: dict[str, str] = {}
        token = ""
        while True:
            note: Row = {"kind": "list"}
            query = {"status": ",".join(statuses), "page_size": 200, "page_token": token}
            page = None
            async with self._asking("GET", "/api/v1/jobs", tenant, note, params=query) as answer:
                if answer is not None and answer.status_code == 200:
                    page = answer.json()
            if page is None:
                raise ConnectionError(f"the list was answered with {note['status']}: {note.get('problem')}")
            for view in page["jobs"]:
                shown[view["id"]] = view["status"]
                self._note_job(told := {**note, "kind": "status", "job": view["id"]}, view)
                self.told.append(told)
            if not (token := page["next_page_token"] or ""):
                return shown

    async def look_once(self) -> int:
        """Learns what became of the jobs that were not final at the last look; returns how many still are not."""
        for tenant in self.api_keys:
            mine = {job_id for job_id, note in self.accepted.items() if note["tenant"] == tenant and job_id not in self.final}
            if not mine:
                continue
            try:
                waiting = await self.look(tenant, ("pending", "processing"))
            except ConnectionError:
                continue
            gate = asyncio.Semaphore(20)

            async def one(job_id: str, gate: asyncio.Semaphore = gate) -> None:
                async with gate:
                    await self.job(job_id)

            await asyncio.gather(*[one(job_id) for job_id in mine - waiting.keys()])
        return len(self.accepted) - len(self.final)

    async def all_finished(self, seconds: float) -> None:
        """Follows the jobs until each was told to be final; raises NotFinished after so many seconds."""
        deadline = time.monotonic() + seconds
        while (left := await self.look_once()) > 0:
            if time.monotonic() > deadline:
                examples = [job_id for job_id in self.accepted if job_id not in self.final][:5]
                raise NotFinished(f"{left} of {len(self.accepted)} jobs are not final after {seconds} s, such as {examples}")
            await asyncio.sleep(0.5)
        await self.watches.all_ended(max(10.0, deadline - time.monotonic()))

    async def look_again(self) -> None:
        """Reads every job once more: what was final must still be what it was."""
        for tenant in self.api_keys:
            await self.look(tenant, sorted({"pending", "processing", *FINAL_STATUSES}))

    async def aclose(self) -> None:
        """Close the connections."""
        await self.watches.aclose()
        await self._http.aclose()

    def _tenant(self, job_id: str) -> str:
        return self.accepted[job_id]["tenant"] if job_id in self.accepted else TENANT

    def _note_job(self, note: Row, view: dict[str, Any]) -> None:
        note |= {"job": view["id"], "version": view["version"], "job_status": view["status"]}
        note["outputs"] = [[output["index"], output["sha256"]] for output in view["outputs"]]
        if view["status"] in FINAL_STATUSES:
            self.final.setdefault(view["id"], view["status"])

    @asynccontextmanager
    async def _asking(
        self, method: str, path: str, tenant: str, note: Row, headers: dict[str, str] | None = None, **request: Any
    ) -> AsyncIterator[httpx.Response | None]:
        """Sends one request, and notes when and with what it was answered; None where no answer came."""
        await self.add_tenant(tenant)
        headers = {"Authorization": f"Bearer {self.api_keys[tenant]}", **(headers or {})}
        note |= {"tenant": tenant, "began": time.time(), "status": None}
        answer = None
        try:
            answer = await self._http.request(method, path, headers=headers, **request)
            note["status"] = answer.status_code
            if answer.status_code >= 400:
                note |= {"problem": answer.text[:300], "retry_after": answer.headers.get("Retry-After")}
        except httpx.TransportError as error:
            note["problem"] = f"{type(error).__name__}: {error}"
        note["ended"] = time.time()
        yield answer
        if note["kind"] != "list":
            self.told.append(note)
