"""What a job may ask for. Every way in passes here, so that REST and gRPC accept and refuse the same."""

import hashlib
import json
import re
from decimal import Decimal
from uuid import UUID

import orjson

from chassis.errors import FieldViolation, invalid_argument
from mediagen.jobs.v1 import jobs_pb2

MAX_PROMPT = 32_768
MAX_PARAMETERS_BYTES = 131_072
MAX_DEPTH = 32
MAX_EXPONENT = 30
MAX_PRIORITY = 10
MAX_METADATA = 16
DEADLINE_SECONDS = (5, 604_800)

_PART = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
MODEL = re.compile(rf"(?:{_PART}/{_PART}(?::[0-9a-f]{{64}})?|[0-9a-f]{{64}})", re.IGNORECASE)
"""`owner/name`, `owner/name:version` or a version alone, as Replicate's create takes them."""

TRACE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""What an x-request-id is kept as; anything else is left out of the row."""

REQUEST_ID = re.compile(r"[\x21-\x7e]{0,255}")

_canonical = json.JSONEncoder(sort_keys=True)
"""Its text must stay as it is: hashes of it are stored with keys. Not orjson: this keeps every digit of integers beyond 64 bits."""


def check_spec(spec: jobs_pb2.JobSpec, request_id: str = "") -> None:
    """Raises INVALID_ARGUMENT that names every field of the request which is wrong."""
    violations = [FieldViolation(field, wrong) for field, wrong in _wrongs(spec) if wrong]
    if not REQUEST_ID.fullmatch(request_id):
        violations.append(FieldViolation("request_id", "must be at most 255 visible ASCII characters"))
    if violations:
        raise invalid_argument(violations)


def _wrongs(spec: jobs_pb2.JobSpec) -> list[tuple[str, str | None]]:
    shortest, longest = DEADLINE_SECONDS
    return [
        ("prompt", _wrong_prompt(spec.prompt)),
        (
            "model",
            None if not spec.model or MODEL.fullmatch(spec.model) else "must be owner/name, owner/name:version, or a version",
        ),
        ("parameters", _wrong_parameters(spec.parameters)),
        ("priority", None if abs(spec.priority) <= MAX_PRIORITY else f"must be from {-MAX_PRIORITY} to {MAX_PRIORITY}"),
        (
            "deadline_seconds",
            None
            if not spec.deadline_seconds or shortest <= spec.deadline_seconds <= longest
            else f"must be from {shortest} to {longest}, or 0 for the default",
        ),
        ("metadata", _wrong_metadata(spec)),
    ]


def _wrong_prompt(prompt: str) -> str | None:
    if not prompt.strip():
        return "must say what to make"
    if len(prompt) > MAX_PROMPT:
        return f"must have at most {MAX_PROMPT} characters, not {len(prompt)}"
    return "must not contain the character U+0000" if "\0" in prompt else None


def _wrong_parameters(parameters: str) -> str | None:
    if len(parameters.encode()) > MAX_PARAMETERS_BYTES:
        return f"must be at most {MAX_PARAMETERS_BYTES} bytes of JSON"
    if not parameters:
        return None
    try:
        orjson.loads(parameters)  # strict: no NaN, no lone surrogates, no endless nesting
        numbers: list[str] = []
        value = json.loads(parameters, parse_float=numbers.append)
    except (ValueError, RecursionError) as error:
        return f"must be a JSON object: {error}"
    if not isinstance(value, dict):
        return "must be a JSON object"
    if "prompt" in value:
        return "must not contain `prompt`: the prompt is a field of its own"
    # PostgreSQL writes numbers out: 1e-16000 would become 16,000 digits, in every answer that holds it.
    if any(abs(Decimal(number).adjusted()) > MAX_EXPONENT for number in numbers):
        return f"must not contain numbers beyond 1e{MAX_EXPONENT}, or closer to 0 than 1e-{MAX_EXPONENT}"
    return _wrong_value(value, MAX_DEPTH)


def _wrong_value(value: object, depth: int) -> str | None:
    if depth == 0:
        return f"must be nested at most {MAX_DEPTH} deep"
    if isinstance(value, str):
        return "must not contain the character U+0000" if "\0" in value else None
    parts = value if isinstance(value, list) else []
    if isinstance(value, dict):
        parts = [part for pair in value.items() for part in pair]
    return next((wrong for part in parts if (wrong := _wrong_value(part, depth - 1))), None)


def _wrong_metadata(spec: jobs_pb2.JobSpec) -> str | None:
    if len(spec.metadata) > MAX_METADATA:
        return f"must have at most {MAX_METADATA} entries"
    for key, value in spec.metadata.items():
        if not 1 <= len(key) <= 64 or len(value) > 512 or "\0" in key + value:
            return "must have keys of 1 to 64 characters and values of at most 512"
    return None


def request_sha256(spec: jobs_pb2.JobSpec) -> bytes:
    """What makes two requests the same: their meaning, not their spelling. Compared when an Idempotency-Key comes again."""
    parameters = json.loads(spec.parameters or "{}")
    parts = [spec.prompt, spec.model, parameters, spec.priority, spec.deadline_seconds, dict(spec.metadata)]
    return hashlib.sha256(_canonical.encode(parts).encode()).digest()


def stored_request(spec: jobs_pb2.JobSpec) -> str:
    """The fields of the request that have no column of their own, as the row keeps them: JSON text."""
    return orjson.dumps({"metadata": dict(spec.metadata), "deadline_seconds": spec.deadline_seconds}).decode()


def parse_id(text: str, field: str = "job_id") -> UUID:
    """A job's id, or INVALID_ARGUMENT."""
    try:
        return UUID(text)
    except ValueError:
        raise invalid_argument(
            [FieldViolation(field, "must be a job's id, such as 01938c2e-7b1a-7c3e-8f00-3d2f6a1b5c4d")]
        ) from None
