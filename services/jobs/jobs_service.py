"""JobsService: what applications may ask of their jobs (jobs.proto)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import grpc
import structlog
import uuid_utils.compat as uuid_utils

from chassis import tracing
from chassis.batching import Batcher
from chassis.channel import REQUEST_ID
from chassis.errors import AppError, FieldViolation, invalid_argument, unavailable
from chassis.failpoints import failpoint
from chassis.rpc import caller
from jobs import access, batches, specs
from jobs.acceptance import Acceptance, Accepted
from jobs.database import Database
from jobs.inbox import Inbox, Note
from jobs.keys import Tenant
from jobs.listing import list_page
from jobs.relay import Relay
from jobs.reports import parse_prediction_id, parse_uuid
from jobs.settings import Settings
from jobs.states import STATUS, State
from jobs.store import NewJob, Report, Store
from jobs.views import job_view
from jobs.watcher import Watcher
from mediagen.jobs.v1 import jobs_pb2, jobs_pb2_grpc

log = structlog.get_logger()

FINISHED = {jobs_pb2.JOB_STATUS_COMPLETED, jobs_pb2.JOB_STATUS_FAILED, jobs_pb2.JOB_STATUS_CANCELED}

Context = grpc.aio.ServicerContext[Any, Any]


def tenant() -> Tenant:
    """The tenant of the current call; raises UNAUTHENTICATED where it carries no key."""
    found: Tenant | None = caller.get()
    if found is None:
        raise AppError(
            grpc.StatusCode.UNAUTHENTICATED,
            "API_KEY_MISSING",
            "Send an API key: `Authorization: Bearer mg_...`, or the metadata likewise.",
        )
    return found


class JobsService(jobs_pb2_grpc.JobsServiceServicer):
    """Each method does what jobs.proto says of it, for the tenant of the call and nobody else."""

    def __init__(
        self,
        database: Database,
        store: Store,
        acceptance: Acceptance,
        relay: Relay,
        watcher: Watcher,
        inbox: Inbox,
        settings: Settings,
    ) -> None:
        """Concurrent reads, and concurrent cancellations, go to PostgreSQL together."""
        self._database = database
        self._store = store
        self._acceptance = acceptance
        self._relay = relay
        self._watcher = watcher
        self._inbox = inbox
        self._settings = settings
        self._reads: Batcher[tuple[Tenant, UUID], jobs_pb2.Job | None] = Batcher(self._read_batch, lanes=2)
        self._cancels: Batcher[Report, Any] = Batcher(store.transition, key=lambda report: report.job_id)

    async def CreateJob(self, request: jobs_pb2.CreateJobRequest, context: Context) -> jobs_pb2.CreateJobResponse:
        """Accepts one job."""
        metadata = dict(context.invocation_metadata() or ())
        return await self._create(tenant(), request, batches.text(metadata, REQUEST_ID))

    async def BatchCreateJobs(self, request: jobs_pb2.BatchCreateJobsRequest, context: Context) -> jobs_pb2.BatchCreateJobsResponse:
        """Accepts several jobs. Metadata `x-request-ids` and `traceparents` hold one value a request, comma separated."""
        batches.check_size("requests", len(request.requests))
        metadata = dict(context.invocation_metadata() or ())
        request_ids = batches.request_ids(metadata, len(request.requests))
        traceparents = batches.each(batches.text(metadata, "traceparents"), len(request.requests)) or [""] * batches.MAX_BATCH
        owner = tenant()
        outcomes = await asyncio.gather(
            *[
                self._create_traced(owner, one, request_id, traceparent)
                for one, request_id, traceparent in zip(request.requests, request_ids, traceparents, strict=False)
            ],
            return_exceptions=True,
        )
        results = []
        for outcome in outcomes:
            if isinstance(outcome, jobs_pb2.CreateJobResponse):
                results.append(jobs_pb2.CreateJobResult(created=outcome))
            else:
                results.append(jobs_pb2.CreateJobResult(error=batches.error(outcome, "BatchCreateJobs")))
        return jobs_pb2.BatchCreateJobsResponse(results=results)

    async def _create_traced(
        self, owner: Tenant, request: jobs_pb2.CreateJobRequest, request_id: str, traceparent: str
    ) -> jobs_pb2.CreateJobResponse:
        """One of a batch, in a task of its own: it is another request than the batch, and of another trace."""
        batches.bind(request_id)
        tracing.receive(traceparent)
        return await self._create(owner, request, request_id)

    async def _create(self, owner: Tenant, request: jobs_pb2.CreateJobRequest, request_id: str) -> jobs_pb2.CreateJobResponse:
        tracing.begin()  # for clients that speak gRPC: the gateway has done so
        with tracing.span("accept job") as span:
            response = await self._accept(owner, request, request_id)
            span.set_attributes({"mediagen.job_id": response.job.id, "mediagen.repeated": response.repeated})
            return response

    async def _accept(self, owner: Tenant, request: jobs_pb2.CreateJobRequest, request_id: str) -> jobs_pb2.CreateJobResponse:
        spec = request.job
        specs.check_spec(spec, request.request_id)
        job = NewJob(
            id=uuid_utils.uuid7(),
            tenant_id=owner.id,
            key=request.request_id,
            request_sha256=specs.request_sha256(spec),
            prompt=spec.prompt,
            model=spec.model or self._settings.default_model,
            parameters=spec.parameters or "{}",
            request=specs.stored_request(spec),
            priority=spec.priority,
            deadline=float(spec.deadline_seconds or self._settings.deadline_seconds),
            request_id=request_id if specs.TRACE_ID.fullmatch(request_id) else None,
            traceparent=tracing.traceparent() or None,
        )
        accepted: Accepted = await self._acceptance.accept(owner, job)
        failpoint("jobs.create.accepted")
        if accepted.row is None:
            return jobs_pb2.CreateJobResponse(job=await self._read(owner, accepted.job_id), repeated=True)
        return jobs_pb2.CreateJobResponse(job=job_view(accepted.row, owner, self._settings.access_token_seconds))

    async def GetJob(self, request: jobs_pb2.GetJobRequest, context: Context) -> jobs_pb2.GetJobResponse:
        """Reads one job."""
        return jobs_pb2.GetJobResponse(job=await self._read(tenant(), _job_id(request.job_id)))

    async def BatchGetJobs(self, request: jobs_pb2.BatchGetJobsRequest, context: Context) -> jobs_pb2.BatchGetJobsResponse:
        """Reads several jobs; those that the tenant does not have are absent."""
        batches.check_size("job_ids", len(request.job_ids))
        owner = tenant()
        ids = {specs.parse_id(job_id, "job_ids") for job_id in request.job_ids}
        found = await self._reads.submit_all((owner, job_id) for job_id in ids)
        return jobs_pb2.BatchGetJobsResponse(jobs=[job for job in found if job is not None])

    async def ListJobs(self, request: jobs_pb2.ListJobsRequest, context: Context) -> jobs_pb2.ListJobsResponse:
        """Reads one page."""
        owner = tenant()
        ids, token = await list_page(self._database, owner, request)
        found = await self._reads.submit_all((owner, job_id) for job_id in ids)
        page = jobs_pb2.ListJobsResponse(jobs=[job for job in found if job is not None], next_page_token=token)
        for job in page.jobs:
            job.ClearField("attempts")
        return page

    async def CancelJob(self, request: jobs_pb2.CancelJobRequest, context: Context) -> jobs_pb2.CancelJobResponse:
        """Asks for a job's end."""
        owner, job_id = tenant(), _job_id(request.job_id)
        await self._read(owner, job_id)  # before the write: another tenant's job is no job
        failpoint("jobs.cancel.received")
        row = await self._cancels.submit(Report(job_id, "cancel", actor="client"))
        failpoint("jobs.cancel.committed")
        if row["result"] == "stale":
            message = f"The job is {STATUS[State(row['state'])]}, and stays so."
            raise AppError(grpc.StatusCode.FAILED_PRECONDITION, "JOB_FINISHED", message)
        self._relay.wake()
        return jobs_pb2.CancelJobResponse(job=await self._read(owner, job_id))

    async def WatchJob(self, request: jobs_pb2.WatchJobRequest, context: Context) -> AsyncIterator[jobs_pb2.WatchJobResponse]:
        """Streams the job's versions until a final one."""
        owner, job_id = tenant(), _job_id(request.job_id)
        sent = request.after_version
        with self._watcher.watching(job_id, sent) as watch:
            while True:
                if self._watcher.stopping:
                    raise unavailable("This instance of the service ends; watch again.")
                watch.changed.clear()
                job = await self._read(owner, job_id)
                if job.version > sent:
                    sent = job.version
                    yield jobs_pb2.WatchJobResponse(job=job)
                if job.status in FINISHED:
                    return
                await watch.changed.wait()

    async def GetOutput(self, request: jobs_pb2.GetOutputRequest, context: Context) -> jobs_pb2.GetOutputResponse:
        """Says where an output lies, for the tenant or for the holder of its access token."""
        job_id = _job_id(request.job_id)
        owner = await self._reader(job_id, request) if request.access_token else tenant()
        job = await self._read(owner, job_id)
        for output in job.outputs:
            if output.index == request.index and output.object_key:
                output.ClearField("access_token")
                return jobs_pb2.GetOutputResponse(output=output)
        raise AppError(
            grpc.StatusCode.NOT_FOUND, "OUTPUT_NOT_FOUND", f"The job has no file {request.index}; it may not be finished."
        )

    async def NoteWebhook(self, request: jobs_pb2.NoteWebhookRequest, context: Context) -> jobs_pb2.NoteWebhookResponse:
        """Stores what a webhook said, for the holder of its URL's token."""
        await self._note(request)
        return jobs_pb2.NoteWebhookResponse()

    async def BatchNoteWebhooks(
        self, request: jobs_pb2.BatchNoteWebhooksRequest, context: Context
    ) -> jobs_pb2.BatchNoteWebhooksResponse:
        """Stores what several webhooks said. Metadata `x-request-ids` is as in BatchCreateJobs."""
        batches.check_size("notes", len(request.notes))
        request_ids = batches.request_ids(dict(context.invocation_metadata() or ()), len(request.notes))
        outcomes = await asyncio.gather(
            *[self._note_named(note, request_id) for note, request_id in zip(request.notes, request_ids, strict=False)],
            return_exceptions=True,
        )
        errors = [b"" if outcome is None else batches.error(outcome, "BatchNoteWebhooks") for outcome in outcomes]
        return jobs_pb2.BatchNoteWebhooksResponse(results=[jobs_pb2.NoteWebhookResult(error=error) for error in errors])

    async def _note_named(self, request: jobs_pb2.NoteWebhookRequest, request_id: str) -> None:
        """One of a batch, in a task of its own: it is another request than the batch."""
        batches.bind(request_id)
        await self._note(request)

    async def _note(self, request: jobs_pb2.NoteWebhookRequest) -> None:
        note = Note(
            webhook_id=_webhook_id(request.webhook_id),
            intent_id=parse_uuid(request.intent_id, "intent_id"),
            prediction_id=parse_prediction_id(request.prediction_id),
            ended=request.ended,
        )
        await self._inbox.note(note, request.token)
        failpoint("jobs.webhook.stored")

    async def _reader(self, job_id: UUID, request: jobs_pb2.GetOutputRequest) -> Tenant:
        rows = await self._database.fetch(
            "SELECT t.id, t.name, t.signing_secret, t.max_waiting FROM jobs j JOIN tenants t ON t.id = j.tenant_id WHERE j.id = $1",
            job_id,
        )
        if rows:
            owner = Tenant(**rows[0])
            if access.verify(request.access_token, owner.signing_secret, str(owner.id), str(job_id), request.index):
                return owner
        raise AppError(
            grpc.StatusCode.PERMISSION_DENIED, "ACCESS_TOKEN_INVALID", "This link was altered, has expired, or was withdrawn."
        )

    async def _read(self, owner: Tenant, job_id: UUID) -> jobs_pb2.Job:
        job = await self._reads.submit((owner, job_id))
        if job is None:
            raise AppError(grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND", f"There is no job {job_id}.")
        return job

    async def _read_batch(self, asked: list[tuple[Tenant, UUID]]) -> Sequence[jobs_pb2.Job | None]:
        rows = await self._store.get(list({(owner.id, job_id): None for owner, job_id in asked}))
        seconds = self._settings.access_token_seconds
        found = ((owner, rows.get((owner.id, str(job_id)))) for owner, job_id in asked)
        return [None if row is None else job_view(row, owner, seconds) for owner, row in found]


def _job_id(text: str) -> UUID:
    """The job that a call is about, in every log line of the call from now on."""
    job_id = specs.parse_id(text)
    structlog.contextvars.bind_contextvars(job_id=str(job_id))
    return job_id


def _webhook_id(text: str) -> str:
    if not text or not specs.REQUEST_ID.fullmatch(text):
        raise invalid_argument([FieldViolation("webhook_id", "must be 1 to 255 visible ASCII characters")])
    return text
