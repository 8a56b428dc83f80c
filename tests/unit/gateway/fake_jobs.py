"""A JobsService in memory, served over real gRPC: enough of `jobs` to test the gateway alone."""

import uuid
from collections import defaultdict
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import AppError, FieldViolation, invalid_argument, to_status
from chassis.rpc import caller
from mediagen.jobs.v1 import jobs_pb2, jobs_pb2_grpc

KEY = "mg_test"
BEARER = {"Authorization": f"Bearer {KEY}"}


async def authenticate(token: str | None) -> str | None:
    if token not in (KEY, None):
        raise AppError(grpc.StatusCode.UNAUTHENTICATED, "API_KEY_INVALID", "There is no such API key.")
    return token


def need_key() -> None:
    if caller.get() is None:
        raise AppError(grpc.StatusCode.UNAUTHENTICATED, "API_KEY_MISSING", "Send Authorization: Bearer mg_...")


class FakeJobs(jobs_pb2_grpc.JobsServiceServicer):
    """Keeps jobs in a dictionary, and remembers every call."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        self.jobs: dict[str, jobs_pb2.Job] = {}
        self.specs: dict[str, jobs_pb2.JobSpec] = {}
        self.by_request_id: dict[str, str] = {}
        self.calls: dict[str, list[tuple[Any, dict[str, str]]]] = defaultdict(list)
        self.fail: AppError | None = None
        self.unknown: set[str] = set()
        self.next_page_token = ""

    def _called(self, method: str, request: Any, context: Any) -> None:
        self.calls[method].append((request, dict(context.invocation_metadata())))
        if method in self.unknown:
            raise AppError(grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED", "Method not found!")
        if self.fail is not None:
            raise self.fail

    def add(self, **fields: Any) -> jobs_pb2.Job:
        """Stores a job as it is given."""
        job = jobs_pb2.Job(id=str(uuid.uuid4()), model="owner/name", version=1, **fields)
        job.created_at.CopyFrom(Timestamp(seconds=1_800_000_000, nanos=123_456_000))
        job.updated_at.CopyFrom(job.created_at)
        self.jobs[job.id] = job
        return job

    def _create(self, request: jobs_pb2.CreateJobRequest) -> jobs_pb2.CreateJobResponse:
        if request.job.model == "no model":
            raise invalid_argument([FieldViolation("model", "Must be owner/name.")])
        if job_id := self.by_request_id.get(request.request_id):
            if self.specs[job_id] != request.job:
                raise AppError(grpc.StatusCode.ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED", "The key came with another job.")
            return jobs_pb2.CreateJobResponse(job=self.jobs[job_id], repeated=True)
        spec = request.job
        job = self.add(
            prompt=spec.prompt,
            parameters=spec.parameters or "{}",
            status=jobs_pb2.JOB_STATUS_PENDING,
            priority=spec.priority,
            metadata=spec.metadata,
        )
        self.specs[job.id] = spec
        self.by_request_id[request.request_id] = job.id
        return jobs_pb2.CreateJobResponse(job=job)

    async def BatchCreateJobs(self, request: jobs_pb2.BatchCreateJobsRequest, context: Any) -> jobs_pb2.BatchCreateJobsResponse:
        need_key()
        self._called("BatchCreateJobs", request, context)
        response = jobs_pb2.BatchCreateJobsResponse()
        for each in request.requests:
            try:
                response.results.add(created=self._create(each))
            except AppError as error:
                response.results.add(error=to_status(error).SerializeToString())
        return response

    async def BatchGetJobs(self, request: jobs_pb2.BatchGetJobsRequest, context: Any) -> jobs_pb2.BatchGetJobsResponse:
        need_key()
        self._called("BatchGetJobs", request, context)
        return jobs_pb2.BatchGetJobsResponse(jobs=[self.jobs[job_id] for job_id in request.job_ids if job_id in self.jobs])

    async def ListJobs(self, request: jobs_pb2.ListJobsRequest, context: Any) -> jobs_pb2.ListJobsResponse:
        need_key()
        self._called("ListJobs", request, context)
        if request.page_token == "broken":
            raise invalid_argument([FieldViolation("page_token", "Is none of ours.")])
        return jobs_pb2.ListJobsResponse(jobs=self.jobs.values(), next_page_token=self.next_page_token)

    async def CancelJob(self, request: jobs_pb2.CancelJobRequest, context: Any) -> jobs_pb2.CancelJobResponse:
        need_key()
        self._called("CancelJob", request, context)
        job = self.jobs.get(request.job_id)
        if job is None:
            raise AppError(grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND", f"There is no job {request.job_id}.")
        if job.status in (jobs_pb2.JOB_STATUS_COMPLETED, jobs_pb2.JOB_STATUS_FAILED):
            raise AppError(grpc.StatusCode.FAILED_PRECONDITION, "JOB_FINISHED", "The job has completed already.")
        job.status = jobs_pb2.JOB_STATUS_CANCELED
        return jobs_pb2.CancelJobResponse(job=job)

    async def GetOutput(self, request: jobs_pb2.GetOutputRequest, context: Any) -> jobs_pb2.GetOutputResponse:
        self._called("GetOutput", request, context)
        job = self.jobs.get(request.job_id)
        if request.access_token:
            if request.access_token != f"token-{request.index}":
                raise AppError(grpc.StatusCode.PERMISSION_DENIED, "ACCESS_TOKEN_INVALID", "The link is not valid.")
        else:
            need_key()
        if job is None or request.index >= len(job.outputs):
            raise AppError(grpc.StatusCode.NOT_FOUND, "OUTPUT_NOT_FOUND", "There is no such output.")
        output = jobs_pb2.Output()
        output.CopyFrom(job.outputs[request.index])
        output.ClearField("access_token")
        return jobs_pb2.GetOutputResponse(output=output)

    async def NoteWebhook(self, request: jobs_pb2.NoteWebhookRequest, context: Any) -> jobs_pb2.NoteWebhookResponse:
        self._called("NoteWebhook", request, context)
        return jobs_pb2.NoteWebhookResponse()

    async def BatchNoteWebhooks(
        self, request: jobs_pb2.BatchNoteWebhooksRequest, context: Any
    ) -> jobs_pb2.BatchNoteWebhooksResponse:
        self._called("BatchNoteWebhooks", request, context)
        refused = AppError(grpc.StatusCode.PERMISSION_DENIED, "WEBHOOK_TOKEN_INVALID", "Withdrawn.")
        error = to_status(refused).SerializeToString()
        results = [jobs_pb2.NoteWebhookResult(error=error if note.token == "withdrawn" else b"") for note in request.notes]
        return jobs_pb2.BatchNoteWebhooksResponse(results=results)
