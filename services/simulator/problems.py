"""Replicate's error answers: bodies like RFC 7807's, and the HTML of the edge in front of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
from starlette.requests import Request
from starlette.responses import Response

Answer = Literal[
    "unauthenticated",
    "insufficient_credit",
    "spend_limit",
    "forbidden",
    "not_found",
    "invalid_version",
    "invalid_input",
    "throttled",
    "throttled_about",
    "throttled_low_credit",
    "internal_error",
    "internal_error_html",
    "bad_gateway",
    "service_unavailable",
    "gateway_timeout",
]
"""Every refusal that Replicate is known to give, by a name that fault rules use."""


ThrottleAnswer = Literal["throttled", "throttled_about", "throttled_low_credit"]
"""The three forms of a 429."""


@dataclass
class Problem(Exception):
    """A request that is answered with an error: status, JSON members beside `status`, or an HTML page instead."""

    status: int
    detail: str = ""
    title: str | None = None
    members: Mapping[str, Any] = field(default_factory=dict)
    html: bool = False
    retry_after: float | None = None
    """Seconds for a Retry-After header; None sends no such header."""

    def response(self) -> Response:
        """The answer as it goes over the wire."""
        headers = {} if self.retry_after is None else {"Retry-After": f"{self.retry_after:g}"}
        if self.html:
            page = f"<html>\r\n<head><title>{self.status} {self.title}</title></head>\r\n<body>\r\n<center><h1>"
            page += f"{self.status} {self.title}</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>"
            return Response(page, self.status, headers, media_type="text/html")
        body: dict[str, Any] = {"title": self.title} if self.title else {}
        body |= {"detail": self.detail, **self.members}
        return Response(orjson.dumps(body), self.status, headers, media_type="application/problem+json")


async def answer_problem(_: Request, problem: Exception) -> Response:
    """Starlette's exception handler for Problem."""
    assert isinstance(problem, Problem)
    return problem.response()


def not_found(detail: str = "The requested resource could not be found.") -> Problem:
    """404, for whatever does not exist."""
    return Problem(404, detail, members={"status": 404})


def no_versions() -> Problem:
    """404 for the versions of an official model, which are hidden."""
    detail = "This model is an official model and does not expose a list of versions."
    return Problem(404, detail, "Not found", {"status": 404})


def invalid_version() -> Problem:
    """422 for a create with a version that does not exist."""
    detail = "The specified version does not exist (or perhaps you don't have permission to use it?)"
    return Problem(422, detail, "Invalid version or not permitted", {"status": 422})


def invalid_fields(fields: Sequence[Mapping[str, str]]) -> Problem:
    """422 for a body or an input that breaks its schema; each field has type, field and description."""
    detail = "".join(f"- {item['field'] + ': ' if item['field'] else ''}{item['description']}\n" for item in fields)
    return Problem(422, detail, "Input validation failed", {"status": 422, "invalid_fields": list(fields)})


def throttled(form: ThrottleAnswer, wait: float) -> Problem:
    """429 in one of the three forms seen; `wait` is in seconds. The third carries `retry_after` in its body."""
    seconds = max(1, round(wait))
    if form == "throttled":
        return Problem(429, f"Request was throttled. Expected available in {seconds} second{'s'[: seconds > 1]}.")
    if form == "throttled_about":
        return Problem(429, f"Request was throttled. Your rate limit resets in ~{seconds}s.")
    detail = (
        "Request was throttled. Your rate limit for creating predictions is reduced to 6 requests per minute with a "
        "burst of 1 requests while you have less than $5.0 in credit. "
        f"Your rate limit resets in ~{seconds}s."
    )
    return Problem(429, detail, members={"status": 429, "retry_after": seconds})


def refusal(answer: Answer, wait: float) -> Problem:
    """The problem that a name of `Answer` stands for; `wait`, in seconds, matters to the throttled ones only."""
    match answer:
        case "throttled" | "throttled_about" | "throttled_low_credit":
            return throttled(answer, wait)
        case "not_found":
            return not_found()
        case "invalid_version":
            return invalid_version()
        case "invalid_input":
            field = {"type": "invalid", "field": "input.prompt", "description": "prompt was refused by a fault rule"}
            return invalid_fields([field])
        case _:
            if answer in _PAGES:
                status, title = _PAGES[answer]
                return Problem(status, title=title, html=True)
            status, title, detail = _BODIES[answer]
            return Problem(status, detail, title, {"status": status})


_PAGES = {
    "internal_error_html": (500, "Internal Server Error"),
    "bad_gateway": (502, "Bad Gateway"),
    "service_unavailable": (503, "Service Unavailable"),
    "gateway_timeout": (504, "Gateway Timeout"),
}
"""What the edge answers with: HTML."""

_BODIES = {
    "unauthenticated": (401, "Unauthenticated", "You did not pass a valid authentication token"),
    "insufficient_credit": (
        402,
        "Insufficient credit",
        "You have insufficient credit to run this model. Go to https://replicate.com/account/billing#billing to "
        "purchase credit. Once you purchase credit, please wait a few minutes before trying again.",
    ),
    "spend_limit": (
        402,
        "Monthly spend limit reached",
        "You've hit your monthly spend limit. You can change or remove your limit at https://replicate.com/account/billing#limits.",
    ),
    "forbidden": (403, "Forbidden", "You do not have permission to perform this action."),
    "internal_error": (500, "Internal error", "An internal error occurred."),
}
"""What the API itself answers with: JSON."""
