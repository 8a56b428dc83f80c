"""Checks of a create: its body, its headers and its input, refused in the words that Replicate uses (gojsonschema's)."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from jsonschema_rs import ValidationError, Validator, validator_for

from simulator.models import Model
from simulator.problems import Problem, invalid_fields

_PREFER = re.compile(r"wait(?:=([1-9]|[1-5][0-9]|60))?")
_DURATION = re.compile(r"(?=\d)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")

_BODY: dict[str, Any] = {
    "type": "object",
    "required": ["input"],
    "additionalProperties": False,
    "properties": {
        "input": {"type": "object"},
        "webhook": {"type": "string"},
        "webhook_completed": {"type": "string"},
        "webhook_events_filter": {
            "type": "array",
            "items": {"type": "string", "enum": ["start", "output", "logs", "completed"]},
        },
        "stream": {"type": "boolean"},
    },
}
_WITHOUT_VERSION = validator_for(_BODY)
_WITH_VERSION = validator_for(
    {**_BODY, "required": ["version", "input"], "properties": {**_BODY["properties"], "version": {"type": "string"}}}
)


def check_body(body: Any, *, with_version: bool) -> None:
    """Raises the 422 of a create's body; `version` is required on /v1/predictions and unknown elsewhere."""
    _check(_WITH_VERSION if with_version else _WITHOUT_VERSION, body, "")


def check_input(model: Model, values: Mapping[str, Any]) -> None:
    """Raises the 422 of an input that breaks the model's schema."""
    _check(model.input_validator, values, "input")


def check_webhook(url: str | None, *, http_anywhere: bool) -> None:
    """Raises the 422 of a webhook URL that is not https, as Replicate does; http to this machine passes, or to any host."""
    if url is None:
        return
    try:
        parts = urlsplit(url)
        fine = parts.scheme == "https" or (parts.scheme == "http" and (http_anywhere or _is_loopback(parts.hostname or "")))
        fine = fine and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fine = False
    if not fine:
        text = "webhook must be a valid HTTPS URL"
        raise invalid_fields([{"type": "invalid", "field": "webhook", "description": text}])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def wait_seconds(prefer: str | None) -> int:
    """How long `Prefer: wait[=n]` holds the connection: 0 without it, 60 s for a bare `wait`; raises a 422."""
    if prefer is None:
        return 0
    if (match := _PREFER.fullmatch(prefer)) is None:
        raise _bad_header("Prefer", "must be wait or wait=N, with N from 1 to 60")
    return int(match[1] or 60)


def cancel_after_seconds(value: str | None) -> float | None:
    """The duration of `Cancel-After`: h, m and s combined, or a bare number of seconds; 5 s at least; raises a 422."""
    if value is None:
        return None
    if (match := _DURATION.fullmatch(value.strip())) is None:
        raise _bad_header("Cancel-After", "must be a duration such as 30s, 5m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if total < 5:
        raise _bad_header("Cancel-After", "must be 5 seconds or more")
    return float(total)


def _bad_header(name: str, rule: str) -> Problem:
    return invalid_fields([{"type": "invalid_header", "field": name, "description": rule}])


def _check(validator: Validator, value: Any, root: str) -> None:
    if validator.is_valid(value):
        return
    raise invalid_fields([item for error in validator.iter_errors(value) for item in _fields(error, root)])


def _fields(error: ValidationError, root: str) -> Iterator[dict[str, str]]:
    """The `invalid_fields` that one error makes; several where several properties are too much."""
    field = ".".join([root, *map(str, error.instance_path)] if root else map(str, error.instance_path))
    kind = error.kind.as_dict()
    match error.kind.name:
        case "additionalProperties":
            for name in kind["unexpected"]:
                text = f"Additional property {name} is not allowed"
                yield {"type": "additional_property_not_allowed", "field": field, "description": text}
            return
        case "required":
            found = ("required", f"{kind['property']} is required")
        case "type":
            given = _type_name(error.instance)
            found = ("invalid_type", f"Invalid type. Expected: {'/'.join(kind['types'])}, given: {given}")
        case "enum":
            allowed = ", ".join(f'"{option}"' for option in kind["options"])
            found = ("enum", f"{field} must be one of the following: {allowed}")
        case "maximum":
            found = ("number_lte", f"Must be less than or equal to {kind['limit']}")
        case "minimum":
            found = ("number_gte", f"Must be greater than or equal to {kind['limit']}")
        case other:
            found = (other, error.message)
    yield {"type": found[0], "field": field, "description": found[1]}


def _type_name(value: Any) -> str:
    names = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")
