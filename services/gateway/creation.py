"""From the body and headers of a POST to what `jobs` is asked: a JobSpec and a request id."""

import re

import uuid_utils
from pydantic import ValidationError
from starlette.datastructures import Headers

from gateway.problems import FieldError, ProblemError, field_errors, invalid_fields
from gateway.schemas import MAX_PARAMETERS_BYTES, CreateJob
from gateway.strict_json import InvalidJson, read_object
from mediagen.jobs.v1 import jobs_pb2

_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]{1,255}")


def read_job(content_type: str | None, body: bytes) -> jobs_pb2.JobSpec:
    """Reads the job that a body asks for; raises ProblemError with 400, 415 or 422.

    `parameters` are passed on as the text that came: a parsed number could lose digits.
    """
    if (content_type or "").partition(";")[0].strip().lower() != "application/json":
        detail = f"The body must be application/json, not {content_type or 'of an unnamed type'}."
        raise ProblemError(415, "unsupported_media_type", detail, headers={"Accept-Post": "application/json"})
    try:
        document = read_object(body)
        # Not validate_json: this reader has parsed the body already, and refuses what pydantic lets pass (duplicate names, NaN).
        job = CreateJob.model_validate(document.members)
    except InvalidJson as error:
        raise ProblemError(400, "invalid_json", str(error)) from None
    except ValidationError as error:
        raise invalid_fields(field_errors(error.errors(include_url=False, include_input=False))) from None
    parameters = document.source("parameters") if job.parameters else ""
    if len(parameters.encode()) > MAX_PARAMETERS_BYTES:
        raise invalid_fields([FieldError(field="parameters", message=f"At most {MAX_PARAMETERS_BYTES} bytes of JSON are allowed.")])
    if "prompt" in job.parameters:
        message = "The prompt belongs into the field `prompt` of the request, beside `parameters`."
        raise invalid_fields([FieldError(field="parameters.prompt", message=message)])
    return jobs_pb2.JobSpec(
        prompt=job.prompt,
        model=job.model or "",
        parameters=parameters,
        priority=job.priority,
        metadata=job.metadata,
        deadline_seconds=job.deadline_seconds or 0,
    )


def read_request_id(headers: Headers) -> str:
    """The Idempotency-Key; without one a new id, so that a call that gRPC repeats makes no second job. Raises ProblemError.

    New ids grow with time, and are kept next to each other: at random places each costs PostgreSQL a page of WAL, before long.
    """
    keys = headers.getlist("idempotency-key")
    if not keys:
        return uuid_utils.uuid7().hex
    if len(keys) > 1 or not _VISIBLE_ASCII.fullmatch(keys[0]):
        raise invalid_fields(
            [FieldError(field="Idempotency-Key", message="Must be one value of 1 to 255 visible ASCII characters.")]
        )
    return keys[0]
