"""What calls with several requests in them have in common: their size, each request's id, and how each one's failure is told."""

from collections.abc import Mapping

import structlog

from chassis.channel import REQUEST_ID
from chassis.errors import AppError, FieldViolation, internal, invalid_argument, to_status

log = structlog.get_logger()

MAX_BATCH = 256

Metadata = Mapping[str, str | bytes]


def text(metadata: Metadata, key: str) -> str:
    """The value of a call's metadata; empty where there is none, or it is no text."""
    value = metadata.get(key, "")
    return value if isinstance(value, str) else ""


def check_size(field: str, size: int) -> None:
    """Raises INVALID_ARGUMENT where a batch is empty or too large."""
    if not 1 <= size <= MAX_BATCH:
        raise invalid_argument([FieldViolation(field, f"must have 1 to {MAX_BATCH} entries, not {size}")])


def each(value: str, count: int) -> list[str] | None:
    """The comma separated values of a batch, one a request; None where they are not."""
    values = value.split(",")
    return values if value and len(values) == count else None


def request_ids(metadata: Metadata, count: int) -> list[str]:
    """The id of each request of a batch; where they are not told one by one, the batch's own."""
    return each(text(metadata, "x-request-ids"), count) or [text(metadata, REQUEST_ID)] * count


def bind(request_id: str) -> None:
    """From now on this task, which is one request's, logs under its id and not the batch's."""
    if request_id:
        structlog.contextvars.bind_contextvars(request_id=request_id)


def error(outcome: BaseException, method: str) -> bytes:
    """What one of a batch failed with, as its result tells it: the others may be done, and are told so."""
    if not isinstance(outcome, Exception):
        raise outcome
    if not isinstance(outcome, AppError):
        log.error("rpc.failed", method=method, exc_info=outcome)
        outcome = internal()
    return to_status(outcome).SerializeToString()
