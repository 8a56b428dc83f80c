"""What Replicate's answers mean, as data and pure functions: of a create, and of a prediction that failed."""

import email.utils
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from mediagen.jobs.v1.worker_pb2 import (
    FAILURE_KIND_PERMANENT,
    FAILURE_KIND_TRANSIENT,
    REFUSAL_KIND_ACCOUNT,
    REFUSAL_KIND_RATE_LIMITED,
    REFUSAL_KIND_REJECTED,
    FailureKind,
    RefusalKind,
)

MAX_MESSAGE = 2000
"""Characters of Replicate's own words that are kept; some models answer with pages of traceback."""


@dataclass(frozen=True)
class Created:
    """A prediction was made, for certain."""

    prediction: dict[str, Any]
    """The answer; only its id can be relied on."""


@dataclass(frozen=True)
class Refused:
    """No prediction was made, for certain."""

    kind: RefusalKind.ValueType
    """What follows."""
    http_status: int
    """0 where nothing was sent."""
    error_code: str
    """As the job's error_code."""
    message: str
    """Replicate's own words."""
    retry_after_seconds: float = 0
    """How long it asked to wait."""


@dataclass(frozen=True)
class Unknown:
    """A prediction may or may not have been made."""

    reason: str
    """What was seen."""
    http_status: int = 0
    """0 where no answer came."""


CreateOutcome = Created | Refused | Unknown

_REFUSALS: dict[int, tuple[RefusalKind.ValueType, str]] = {
    400: (REFUSAL_KIND_REJECTED, "invalid_input"),
    401: (REFUSAL_KIND_ACCOUNT, "account_unauthorized"),
    402: (REFUSAL_KIND_ACCOUNT, "insufficient_credit"),
    403: (REFUSAL_KIND_ACCOUNT, "account_unauthorized"),
    404: (REFUSAL_KIND_REJECTED, "model_not_found"),
    413: (REFUSAL_KIND_REJECTED, "input_too_large"),
    422: (REFUSAL_KIND_REJECTED, "invalid_input"),
    429: (REFUSAL_KIND_RATE_LIMITED, "rate_limited"),
}
"""Statuses of a create that surely made nothing. A 401 or 403 is looked into further: see create.py."""


def create_outcome(status: int, headers: Mapping[str, str], body: bytes) -> CreateOutcome:
    """What the answer to a create says. After any 5xx, and any answer that cannot be read, a prediction may exist."""
    if 200 <= status < 300:
        try:
            prediction = orjson.loads(body)
        except orjson.JSONDecodeError:
            return Unknown(f"HTTP {status} that is not JSON", status)
        if isinstance(prediction, dict) and isinstance(prediction.get("id"), str) and prediction["id"]:
            return Created(prediction)
        return Unknown(f"HTTP {status} without an id", status)
    if status >= 500 or status < 200 or status == 408:
        return Unknown(f"HTTP {status}", status)
    if status < 400:  # a wrong base URL, which is the operator's to correct; the jobs keep their place
        message = f"Replicate's URL redirects to {headers.get('Location')}"
        return Refused(REFUSAL_KIND_ACCOUNT, status, "provider_redirected", message)
    kind, code = _REFUSALS.get(status, (REFUSAL_KIND_REJECTED, "request_rejected"))
    problem = parse_problem(body)
    if status == 422 and "version" in problem.title.lower():
        code = "model_not_found"
    wait = retry_after(headers, body) if kind == REFUSAL_KIND_RATE_LIMITED else 0
    return Refused(kind, status, code, problem.message or f"Replicate answered with HTTP {status}", wait)


class ProblemText(NamedTuple):
    """The words of an error body."""

    title: str
    """Its title, or nothing."""
    message: str
    """Title, detail and invalid fields in one line, or nothing."""


def parse_problem(body: bytes) -> ProblemText:
    """Reads an error body: problem JSON as documented, and whatever else the edge may answer with."""
    try:
        problem = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ProblemText("", "")  # HTML of a proxy says nothing to a job's owner
    if not isinstance(problem, dict):
        return ProblemText("", as_text(problem))
    title, detail = as_text(problem.get("title")), as_text(problem.get("detail")).strip()
    return ProblemText(title, ": ".join(part for part in (title, detail) if part)[:MAX_MESSAGE])


def as_text(value: Any) -> str:
    """Any JSON value as words; documented strings have come as lists and objects before."""
    if value is None:
        return ""
    return (value if isinstance(value, str) else orjson.dumps(value).decode())[:MAX_MESSAGE]


_SECONDS = re.compile(r"~?\s*(\d+(?:\.\d+)?)\s*s(?:ec|\b)", re.IGNORECASE)
_DEFAULT_RETRY_AFTER, _LONGEST_RETRY_AFTER = 30.0, 120.0


def retry_after(headers: Mapping[str, str], body: bytes) -> float:
    """Seconds that a 429 asks to wait: from its header, its field or its words, in that order; 30 where it says nothing.

    Never above 120, whatever it says. The jitter is added where the wait is planned, in jobs.
    """
    seconds = _header_seconds(headers.get("Retry-After", ""))
    if seconds is None:
        try:
            problem = orjson.loads(body)
        except orjson.JSONDecodeError:
            problem = None
        if isinstance(problem, dict):
            field = problem.get("retry_after")
            if isinstance(field, int | float) and not isinstance(field, bool):
                seconds = float(field)
            elif match := _SECONDS.search(as_text(problem.get("detail"))):
                seconds = float(match[1])
    if seconds is None:
        return _DEFAULT_RETRY_AFTER
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)


def _header_seconds(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        pass
    try:
        return email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except ValueError:
        return None


class FailureRule(NamedTuple):
    """One row of the table of failures."""

    pattern: re.Pattern[str]
    """Searched in the prediction's error text."""
    code: str
    """The job's error_code."""
    kind: FailureKind.ValueType
    """Whether another paid attempt may help."""


def _rule(pattern: str, code: str, kind: FailureKind.ValueType) -> FailureRule:
    return FailureRule(re.compile(pattern, re.IGNORECASE), code, kind)


FAILURES = [
    _rule(
        r"\bnsfw\b|flagged as sensitive|\bE005\b|flagged by (the )?safety|content (policy|moderation)",
        "content_rejected",
        FAILURE_KIND_PERMANENT,  # four paid attempts and two rewritten prompts have been spent on one E005, without success
    ),
    _rule(r"\bE1001\b|out of memory", "model_oom", FAILURE_KIND_PERMANENT),  # the same input needs the same memory
    _rule(r"\bE4875\b", "provider_bug", FAILURE_KIND_TRANSIENT),
    _rule(r"\bE1000\b|\bE8765\b|\bE6716\b|prediction interrupted|code: PA\b", "provider_transient", FAILURE_KIND_TRANSIENT),
]
"""The first row that fits counts; a failure that none fits is the model's own, and permanent."""


def failure(error: Any) -> tuple[str, FailureKind.ValueType, str]:
    """The error_code, the kind and the words of a prediction that failed with `error`."""
    message = as_text(error) or "The model failed without saying why."
    for rule in FAILURES:
        if rule.pattern.search(message):
            return rule.code, rule.kind, message
    return "model_error", FAILURE_KIND_PERMANENT, message
