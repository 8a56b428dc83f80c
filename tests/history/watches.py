"""Open watches: gRPC streams of single jobs, as a client that speaks it directly would keep them."""

import asyncio
import contextlib
import itertools
import time

import grpc

from history.evidence import FINAL_STATUSES, STATUS, Row
from mediagen.jobs.v1 import jobs_pb2, jobs_pb2_grpc

WORDS = {jobs_pb2.JobStatus.Value(f"JOB_STATUS_{word.upper()}"): word for word in set(STATUS.values())}
PAUSE = 0.5
"""Seconds before a watch that was lost is opened again."""


class Watches:
    """Watches over jobs; each goes on, from the version that it saw last, until it saw a final one."""

    def __init__(self, address: str, told: list[Row]) -> None:
        """`address` is that of JobsService; every version that a stream shows is added to `told`."""
        self._channel = grpc.aio.insecure_channel(address, options=[("grpc.max_reconnect_backoff_ms", 2000)])
        self._told = told
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, job_id: str, tenant: str, api_key: str) -> None:
        """Watches a job in the background."""
        task = asyncio.create_task(self._follow(job_id, tenant, api_key, next(self._numbers)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def all_ended(self, seconds: float) -> None:
        """Waits until every watch has seen its job's end; raises TimeoutError after so many seconds."""
        async with asyncio.timeout(seconds):
            while self._tasks:
                await asyncio.wait(self._tasks)

    async def aclose(self) -> None:
        """Ends what is still open."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._channel.close()

    async def _follow(self, job_id: str, tenant: str, api_key: str, stream: int) -> None:
        stub = jobs_pb2_grpc.JobsServiceStub(self._channel)
        note: Row = {"version": 0}
        while note.get("job_status") not in FINAL_STATUSES:
            request = jobs_pb2.WatchJobRequest(job_id=job_id, after_version=note["version"])
            call = stub.WatchJob(request, metadata=[("authorization", f"Bearer {api_key}")])
            with contextlib.suppress(grpc.aio.AioRpcError):
                began = time.time()
                async for answer in call:
                    note = {"kind": "watch", "stream": stream, "job": job_id, "tenant": tenant, "status": 200, "began": began}
                    note |= {"ended": time.time(), "version": answer.job.version, "job_status": WORDS[answer.job.status]}
                    note["outputs"] = [[output.index, output.sha256 or None] for output in answer.job.outputs]
                    self._told.append(note)
                if note["version"]:
                    note["closed"] = True  # the server ended the stream, which it does after a final version only
            await asyncio.sleep(PAUSE)
