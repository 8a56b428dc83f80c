"""What the OpenAPI document says beyond what FastAPI finds out by itself."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from gateway.problems import MEDIA_TYPE, Problem
from gateway.schemas import CreateJob

DESCRIPTION = """\
Post a prompt, get a job's id within milliseconds, and find the media under a link that does not rot.

Every call carries an API key: `Authorization: Bearer mg_…`. Only the links to outputs work without one. Errors are
`application/problem+json` (RFC 9457), always. Send an `Idempotency-Key` with every create, and repeat it after any doubt.
"""

_REF = "#/components/schemas/"

_JOB_ID = {
    "name": "job_id",
    "in": "path",
    "required": True,
    "description": "The job's id.",
    "schema": {"type": "string", "format": "uuid"},
}

CREATE: dict[str, Any] = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "Repeated with the same job, it answers with the job that it made first; with another job, 422.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        }
    ],
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": _REF + "CreateJob"}}}},
}
"""Of the thin handler that creates."""

READ: dict[str, Any] = {
    "parameters": [
        _JOB_ID,
        {
            "name": "If-None-Match",
            "in": "header",
            "required": False,
            "description": "ETag of an answer.",
            "schema": {"type": "string"},
        },
    ]
}
"""Of the thin handler that reads."""


def media() -> dict[int | str, dict[str, Any]]:
    """What reading an output may answer."""
    anything = {"*/*": {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}}
    return {
        200: {"description": "The file. `ETag` is its sha256.", "content": anything},
        206: {"description": "The part that `Range` asked for.", "content": anything},
        304: {"description": "It is as If-None-Match says; outputs never change."},
        **problems(401, 403, 404, 416, 422, 503),
    }


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that an operation may answer with."""
    content = {MEDIA_TYPE: {"schema": {"$ref": _REF + "Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the application."""
    made = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes, tags=app.openapi_tags)
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for model in (CreateJob, Problem):
        schema = model.model_json_schema(ref_template=_REF + "{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    components["securitySchemes"] = {
        "api_key": {
            "type": "http",
            "scheme": "bearer",
            "description": "`python -m jobs keys create` makes a key; it begins with `mg_`.",
        }
    }
    made["security"] = [{"api_key": []}]
    return made
