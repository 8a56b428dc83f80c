"""Every error that the gateway answers with: RFC 9457 `application/problem+json`, and the one table from gRPC codes to HTTP."""

import math
from http import HTTPStatus
from typing import Any

import grpc
import orjson
import structlog
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from chassis.errors import AppError

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"

HTTP_STATUS = {
    grpc.StatusCode.CANCELLED: 503,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 503,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 422,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
"""gRPC's code as HTTP says it. An INVALID_ARGUMENT that names fields is 422."""

_AWAY = "The service cannot answer right now. What was asked may have been done: ask again, a create with the same Idempotency-Key."
_BROKEN = "Something went wrong here. The log has it under this request_id."


class FieldError(BaseModel):
    """One thing that is wrong with a request."""

    field: str = Field(description="The field, parameter or header: `parameters.seed`, `page_size`, `Idempotency-Key`.")
    message: str = Field(description="What is wrong with it, and what would be right.")


class Problem(BaseModel):
    """What every error of this API looks like (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:mediagen:problem:job_not_found",
                    "title": "Job not found",
                    "status": 404,
                    "detail": "There is no job 019a3c5e-7d1f-7000-8000-000000000000.",
                    "instance": "/api/v1/jobs/019a3c5e-7d1f-7000-8000-000000000000",
                    "code": "job_not_found",
                    "request_id": "5f2c8f0e9c1b4d57a0c3f7c2b1d4e6a8",
                }
            ]
        }
    )

    type: str = Field(description="A URI of the kind of problem; it ends with `code`.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is wrong this time, and what to do.")
    instance: str = Field(description="The path that was asked for.")
    code: str = Field(description="The kind of problem, for programs: a stable word.")
    request_id: str = Field(description="The id of this request in every log; also the header X-Request-Id.")
    errors: list[FieldError] | None = Field(None, description="The fields that are wrong, where the problem is in fields.")


class ProblemError(Exception):
    """An error of HTTP itself that ends a request; what `jobs` refuses is an AppError."""

    def __init__(
        self, status: int, code: str, detail: str, errors: list[FieldError] | None = None, headers: dict[str, str] | None = None
    ) -> None:
        """`code` is the stable word, `detail` the sentence, `headers` go into the answer."""
        super().__init__(detail)
        self.status, self.code, self.detail, self.errors, self.headers = status, code, detail, errors, headers


def invalid_fields(errors: list[FieldError]) -> ProblemError:
    """The request is well formed, but these fields are wrong."""
    summary = "; ".join(f"{error.field}: {error.message}" for error in errors)
    return ProblemError(422, "invalid_argument", summary, errors)


def problem_response(scope: Scope, problem: ProblemError) -> Response:
    """The answer to the request of `scope` that `problem` ended."""
    content: dict[str, Any] = {
        "type": f"urn:mediagen:problem:{problem.code}",
        "title": problem.code.replace("_", " ").capitalize(),
        "status": problem.status,
        "detail": problem.detail,
        "instance": scope["path"],
        "code": problem.code,
        "request_id": scope["state"]["request_id"],
    }
    if problem.errors:
        content["errors"] = [error.model_dump() for error in problem.errors]
    return Response(orjson.dumps(content), problem.status, problem.headers, MEDIA_TYPE)


def from_app_error(error: AppError) -> ProblemError:
    """What `jobs` answered, as HTTP says it. What is nobody's business but the operator's stays in the log."""
    status = HTTP_STATUS[error.code]
    code = error.reason.lower()
    errors = [FieldError(field=violation.field, message=violation.description) for violation in error.violations]
    if errors and status == 400:
        status = 422
    detail, headers = error.message, {}
    if status >= 500:
        log.warning("jobs.failed", grpc_code=error.code.name, reason=error.reason, detail=error.message)
        detail = _AWAY if status == 503 else _BROKEN
    if status in (429, 503):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds or 1)))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return ProblemError(status, code, detail, errors or None, headers)


def internal_error() -> ProblemError:
    """For what nobody foresaw."""
    return ProblemError(500, "internal", _BROKEN)


def field_errors(details: list[ErrorDetails], skip: int = 0) -> list[FieldError]:
    """What pydantic found, by the field's path without its first `skip` parts."""
    return [
        FieldError(field=".".join(str(part) for part in detail["loc"][skip:] if part != "[key]"), message=_sentence(detail))
        for detail in details
    ]


def _sentence(detail: ErrorDetails) -> str:
    match detail["type"]:
        case "missing":
            return "This field is required."
        case "extra_forbidden":
            return "There is no such field."
        case _:
            return detail["msg"].removeprefix("Value error, ")


async def on_problem(request: Request, error: Exception) -> Response:
    """Answers a ProblemError."""
    assert isinstance(error, ProblemError)
    return problem_response(request.scope, error)


async def on_app_error(request: Request, error: Exception) -> Response:
    """Answers what `jobs` refused."""
    assert isinstance(error, AppError)
    return problem_response(request.scope, from_app_error(error))


async def on_validation_error(request: Request, error: Exception) -> Response:
    """Answers parameters of a path or query that are wrong."""
    assert isinstance(error, RequestValidationError)
    return problem_response(request.scope, invalid_fields(field_errors(list(error.errors()), skip=1)))


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answers what the router refuses: an unknown path, a method that the path does not have."""
    assert isinstance(error, HTTPException)
    path, method = request.scope["path"], request.method
    match error.status_code:
        case 404:
            problem = ProblemError(404, "not_found", f"There is nothing at {path}; /docs lists what there is.")
        case 405:
            allowed = ", ".join(_methods(request))
            problem = ProblemError(405, "method_not_allowed", f"{path} takes {allowed}, not {method}.", headers={"Allow": allowed})
        case status:
            code = HTTPStatus(status).phrase.lower().replace(" ", "_")
            problem = ProblemError(status, code, str(error.detail), headers=dict(error.headers or {}))
    return problem_response(request.scope, problem)


async def on_unforeseen(request: Request, error: Exception) -> Response:
    """Answers what nobody foresaw; Starlette raises it again then, and LastResort tells of it."""
    return problem_response(request.scope, internal_error())


def _methods(request: Request) -> list[str]:
    """Every method of the path; the router itself only names those of the first route that it meets."""
    methods: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return sorted(methods)
