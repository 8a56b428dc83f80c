"""Calls to `jobs`. Concurrent creates of one API key travel as BatchCreateJobs, its reads as BatchGetJobs, and webhooks, of
whomever, as BatchNoteWebhooks: two of a kind at a time."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from typing import NamedTuple, TypeVar

import grpc
from google.rpc import status_pb2

from chassis.batching import Batcher
from chassis.errors import AppError, from_rpc_error, from_status, unavailable
from gateway.caller import Caller, Metadata
from mediagen.jobs.v1 import jobs_pb2, jobs_pb2_grpc

CALL_SECONDS = 10.0
"""How long a call may take. One that finds no server waits for it as long, so that a restart of `jobs` fails no request."""

BATCH = 64
"""Requests in one call, at most; the ids of far more would fit into the metadata that a server of ours takes."""

LANES = 2
"""Calls of a kind that are under way at once for one API key: the gateway passes on the answers of one while `jobs` works on the
other. Each has half of the requests. With three calls of up to 32, 64 clients got a sixth less of reads, and 256 of creates, when
both were tried by turns."""

WEBHOOK_SECONDS = 4.0
"""How long a note of a webhook may take: its sender waits a few seconds for the answer, and comes again."""

KEYS = 1000
"""API keys whose batchers are kept; the one unused for longest makes room."""

Answer = TypeVar("Answer")


class _Create(NamedTuple):
    caller: Caller
    request: jobs_pb2.CreateJobRequest


class _Get(NamedTuple):
    caller: Caller
    job_id: str


class _Note(NamedTuple):
    caller: Caller
    request: jobs_pb2.NoteWebhookRequest
    until: float
    """When its sender is to have an answer, by the loop's clock."""


class JobsClient:
    """JobsService, as the gateway uses it. Every method raises AppError."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """The channel stays the caller's to close."""
        self._stub = jobs_pb2_grpc.JobsServiceStub(channel)
        self._batches: OrderedDict[str | None, _KeyBatches] = OrderedDict()
        self._notes = Batcher[_Note, None](self._note, limit=BATCH, lanes=LANES, even=True)

    async def create(self, caller: Caller, job: jobs_pb2.JobSpec, request_id: str) -> jobs_pb2.CreateJobResponse:
        """Has a job accepted; a repeated `request_id` answers with the job that it made first."""
        request = jobs_pb2.CreateJobRequest(job=job, request_id=request_id)
        return await self._batches_of(caller).creates.submit(_Create(caller, request))

    async def get(self, caller: Caller, job_id: str) -> jobs_pb2.Job:
        """Reads one job; AppError NOT_FOUND where the caller has no such job. `job_id` must be well formed."""
        return await self._batches_of(caller).gets.submit(_Get(caller, job_id))

    async def list(self, caller: Caller, request: jobs_pb2.ListJobsRequest) -> jobs_pb2.ListJobsResponse:
        """Reads one page of jobs."""
        return await _answer(self._stub.ListJobs(request, timeout=CALL_SECONDS, metadata=caller.metadata(), wait_for_ready=True))

    async def cancel(self, caller: Caller, job_id: str) -> jobs_pb2.Job:
        """Asks for a job's end; AppError FAILED_PRECONDITION where it had completed or failed."""
        request = jobs_pb2.CancelJobRequest(job_id=job_id)
        call = self._stub.CancelJob(request, timeout=CALL_SECONDS, metadata=caller.metadata(), wait_for_ready=True)
        return (await _answer(call)).job

    async def output(self, caller: Caller, job_id: str, index: int, access_token: str) -> jobs_pb2.Output:
        """Says where an output lies, to whoever has the key or the output's own token."""
        request = jobs_pb2.GetOutputRequest(job_id=job_id, index=index, access_token=access_token)
        call = self._stub.GetOutput(request, timeout=CALL_SECONDS, metadata=caller.metadata(), wait_for_ready=True)
        return (await _answer(call)).output

    async def note_webhook(self, caller: Caller, request: jobs_pb2.NoteWebhookRequest) -> None:
        """Has stored what a webhook said; AppError PERMISSION_DENIED where its token is wrong."""
        until = asyncio.get_running_loop().time() + WEBHOOK_SECONDS
        try:
            async with asyncio.timeout_at(until):
                await self._notes.submit(_Note(caller, request, until))
        except TimeoutError:
            raise unavailable("What the webhook says could not be stored in time; send it again.") from None

    async def _note(self, notes: Sequence[_Note]) -> Sequence[AppError | None]:
        now = asyncio.get_running_loop().time()
        if all(note.until <= now for note in notes):
            return [unavailable("Nobody waits for this any more.")] * len(notes)
        left = max(note.until for note in notes) - now
        if len(notes) > 1:
            batch = jobs_pb2.BatchNoteWebhooksRequest(notes=[note.request for note in notes])
            metadata = _batch_metadata([note.caller for note in notes])
            call = self._stub.BatchNoteWebhooks(batch, timeout=left, metadata=metadata, wait_for_ready=True)
            try:
                results = (await _answer(call)).results
            except AppError as error:
                if error.code != grpc.StatusCode.UNIMPLEMENTED:  # a `jobs` of the version before, for as long as an upgrade takes
                    raise
            else:
                return [from_status(status_pb2.Status.FromString(result.error)) if result.error else None for result in results]
        return await asyncio.gather(*map(self._note_one, notes))

    async def _note_one(self, note: _Note) -> AppError | None:
        metadata = note.caller.metadata()
        try:
            await _answer(self._stub.NoteWebhook(note.request, timeout=WEBHOOK_SECONDS, metadata=metadata, wait_for_ready=True))
        except AppError as error:
            return error
        return None

    def _batches_of(self, caller: Caller) -> "_KeyBatches":
        batches = self._batches.get(caller.authorization)
        if batches is None:
            batches = self._batches[caller.authorization] = _KeyBatches(self._stub)
            if len(self._batches) > KEYS:
                self._batches.popitem(last=False)
        else:
            self._batches.move_to_end(caller.authorization)
        return batches


class _KeyBatches:
    """What waits for one API key: a call carries one key, so only its requests can share one."""

    def __init__(self, stub: "jobs_pb2_grpc.JobsServiceAsyncStub") -> None:
        self._stub = stub
        self.creates = Batcher[_Create, jobs_pb2.CreateJobResponse](self._create, limit=BATCH, lanes=LANES, even=True)
        self.gets = Batcher[_Get, jobs_pb2.Job](self._get, limit=BATCH, lanes=LANES, even=True)

    async def _create(self, creates: list[_Create]) -> Sequence[jobs_pb2.CreateJobResponse | Exception]:
        request = jobs_pb2.BatchCreateJobsRequest(requests=[create.request for create in creates])
        metadata = _batch_metadata([create.caller for create in creates])
        call = self._stub.BatchCreateJobs(request, timeout=CALL_SECONDS, metadata=metadata, wait_for_ready=True)
        response = await _answer(call)
        return [_outcome(result) for result in response.results]

    async def _get(self, gets: list[_Get]) -> Sequence[jobs_pb2.Job | Exception]:
        request = jobs_pb2.BatchGetJobsRequest(job_ids={get.job_id for get in gets})
        call = self._stub.BatchGetJobs(request, timeout=CALL_SECONDS, metadata=gets[0].caller.metadata(), wait_for_ready=True)
        found = {job.id: job for job in (await _answer(call)).jobs}
        return [found.get(get.job_id) or _not_found(get.job_id) for get in gets]


def _batch_metadata(callers: list[Caller]) -> Metadata:
    """The first caller's metadata, and every caller's ids in the order of the batch: each job keeps the id of its own request."""
    metadata = [*callers[0].metadata(), ("x-request-ids", ",".join(caller.request_id for caller in callers))]
    if any(caller.traceparent for caller in callers):
        metadata.append(("traceparents", ",".join(caller.traceparent or "" for caller in callers)))
    return tuple(metadata)


def _outcome(result: jobs_pb2.CreateJobResult) -> jobs_pb2.CreateJobResponse | AppError:
    if result.WhichOneof("outcome") == "created":
        return result.created
    return from_status(status_pb2.Status.FromString(result.error))


def _not_found(job_id: str) -> AppError:
    return AppError(grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND", f"There is no job {job_id}.")


async def _answer(call: Awaitable[Answer]) -> Answer:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from None
