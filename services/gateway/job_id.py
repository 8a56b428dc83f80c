"""Job ids, as they come in paths."""

import re
from typing import Annotated

import structlog
from fastapi import Path
from starlette.convertors import StringConvertor

from gateway.problems import FieldError, invalid_fields

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


JobId = Annotated[str, Path(description="The job's id.", json_schema_extra={"format": "uuid"})]
"""The parameter of a path, as FastAPI documents it; `checked_job_id` judges it."""


class JobIdConvertor(StringConvertor):
    """A path segment up to its verb: in `/jobs/ID:cancel` the id is not `ID:cancel`."""

    regex = "[^/:]+"


def checked_job_id(text: str) -> str:
    """A job id in the form that `jobs` knows, which is in every log line from now on; raises ProblemError where it can be none."""
    job_id = text.lower()
    if not _UUID.fullmatch(job_id):
        message = "A job id is a UUID, such as 019a3c5e-7d1f-7c3a-9a55-2f0d6b1c8e47."
        raise invalid_fields([FieldError(field="job_id", message=message)])
    structlog.contextvars.bind_contextvars(job_id=job_id)
    return job_id
