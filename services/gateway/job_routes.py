"""Jobs over REST: create, read, list, cancel. Creating and reading are thin handlers; the others are plain FastAPI."""

import hashlib
from typing import Annotated
from urllib.parse import urlencode

import structlog
from fastapi import FastAPI, Query
from starlette.convertors import register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from chassis.failpoints import failpoint
from gateway import openapi
from gateway.caller import Caller
from gateway.conditional import if_none_match
from gateway.creation import read_job, read_request_id
from gateway.job_id import JobId, JobIdConvertor, checked_job_id
from gateway.jobs_client import JobsClient
from gateway.listing import ListQuery
from gateway.schemas import JobList, JobView
from gateway.thin import ThinRoute
from gateway.urls import base_url
from gateway.views import job_view, to_json


class JobRoutes:
    """The handlers; every one asks `jobs` once."""

    def __init__(self, jobs: JobsClient) -> None:
        """They stand on nothing else."""
        self._jobs = jobs

    def add_to(self, app: FastAPI) -> list[ThinRoute]:
        """Adds them to the application; returns those that are to be served ahead of it."""
        register_url_convertor("job_id", JobIdConvertor())
        thin: list[ThinRoute] = []
        app.add_api_route(
            "/api/v1/jobs/{job_id:job_id}:cancel",
            self.cancel,
            methods=["POST"],
            operation_id="cancel_job",
            response_model=JobView,
            summary="Cancel a job",
            responses=openapi.problems(401, 404, 409, 422, 429, 503),
            tags=["jobs"],
        )
        for path, name in (("/api/v1/jobs", "create_job"), ("/api/v1/generate", "generate")):
            route = ThinRoute(
                path,
                self.create,
                methods=["POST"],
                name=name,
                operation_id=name,
                response_model=JobView,
                status_code=202,
                summary="Create a job",
                response_description="Accepted: from now on the job is never lost. `Location` is where it can be read.",
                responses=openapi.problems(400, 401, 413, 415, 422, 429, 503),
                openapi_extra=openapi.CREATE,
                tags=["jobs"],
            )
            thin.append(route)
        for path, name in (("/api/v1/jobs/{job_id:job_id}", "get_job"), ("/api/v1/status/{job_id:job_id}", "get_status")):
            route = ThinRoute(
                path,
                self.get,
                methods=["GET"],
                name=name,
                operation_id=name,
                response_model=JobView,
                summary="Read a job",
                responses={304: {"description": "It is as If-None-Match says."}, **openapi.problems(401, 404, 422, 429, 503)},
                openapi_extra=openapi.READ,
                tags=["jobs"],
            )
            thin.append(route)
        app.add_api_route(
            "/api/v1/jobs",
            self.list,
            methods=["GET"],
            name="list_jobs",
            operation_id="list_jobs",
            response_model=JobList,
            summary="List jobs, newest first",
            responses=openapi.problems(401, 422, 429, 503),
            tags=["jobs"],
        )
        app.router.routes += thin
        return thin

    async def create(self, request: Request) -> Response:
        """Accepts a job and answers at once; the job is worked on in the background."""
        caller = Caller.of(request)
        request_id = read_request_id(request.headers)
        job = read_job(request.headers.get("content-type"), await request.body())
        failpoint("gateway.create.received")
        response = await self._jobs.create(caller, job, request_id)
        structlog.contextvars.bind_contextvars(job_id=response.job.id)
        failpoint("gateway.create.accepted")
        headers = {"Location": f"/api/v1/jobs/{response.job.id}"}
        if response.repeated:
            headers["Idempotent-Replayed"] = "true"
        return Response(to_json(job_view(response.job, base_url(request))), 202, headers, "application/json")

    async def get(self, request: Request) -> Response:
        """Tells a job's status, its outputs and its attempts."""
        job = await self._jobs.get(Caller.of(request), checked_job_id(request.path_params["job_id"]))
        body = to_json(job_view(job, base_url(request)))
        # Not the version alone: what a job waits for may change while the job does not.
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if if_none_match(request.headers, etag):
            return Response(status_code=304, headers=headers)
        return Response(body, 200, headers, "application/json")

    async def list(self, request: Request, query: Annotated[ListQuery, Query()]) -> Response:
        """Pages through your jobs. `Link` names the next page as well."""
        response = await self._jobs.list(Caller.of(request), query.to_request())
        base = base_url(request)
        page = {
            "jobs": [job_view(job, base) for job in response.jobs],
            "next_page_token": response.next_page_token or None,
        }
        headers = {}
        if response.next_page_token:
            kept = [(name, value) for name, value in request.query_params.multi_items() if name != "page_token"]
            following = urlencode([*kept, ("page_token", response.next_page_token)])
            headers["Link"] = f'<{base}/api/v1/jobs?{following}>; rel="next"'
        return Response(to_json(page), 200, headers, "application/json")

    async def cancel(self, request: Request, job_id: JobId) -> Response:
        """Asks for a job's end. A waiting job is canceled at once; one at work as soon as its prediction is. Asking twice is asking
        once; a job that had completed or failed answers 409.
        """
        job = await self._jobs.cancel(Caller.of(request), checked_job_id(job_id))
        return Response(to_json(job_view(job, base_url(request))), 200, media_type="application/json")
