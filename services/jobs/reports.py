"""What generators report, from messages of worker.proto to rows of the one statement that writes states."""

import math
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import orjson
from google.protobuf.message import Message

from chassis.errors import FieldViolation, invalid_argument
from jobs.store import Report
from mediagen.jobs.v1 import worker_pb2 as pb

REFUSALS = {
    pb.REFUSAL_KIND_REJECTED: "reject",
    pb.REFUSAL_KIND_RATE_LIMITED: "rate_limit",
    pb.REFUSAL_KIND_NOT_SENT: "not_sent",
    pb.REFUSAL_KIND_ACCOUNT: "account",
}
FAILURES = {
    pb.FAILURE_KIND_TRANSIENT: "retry",
    pb.FAILURE_KIND_PERMANENT: "fail",
    pb.FAILURE_KIND_ABORTED: "aborted",
    pb.FAILURE_KIND_CANCELED: "canceled",
}
LOOKUPS = {
    pb.LOOKUP_OUTCOME_FOUND: "found",
    pb.LOOKUP_OUTCOME_EMPTY: "empty",
    pb.LOOKUP_OUTCOME_UNREADABLE: "unreadable",
}

STORED = [(field.name, field.has_presence) for field in pb.StoredOutput.DESCRIPTOR.fields]
"""What is kept of an output: the name of each field, and whether it may be absent."""

MAX_DELAY = 86_400.0
MAX_MESSAGE = 4000
"""Characters of an error message that are kept."""


def intent(one: pb.Intent, worker: UUID) -> Report:
    """claimed → submitting."""
    return _report(one, worker, "intend", intent_id=parse_uuid(one.intent_id, "intent_id"))


def created(one: pb.CreatedPrediction, worker: UUID) -> Report:
    """submitting or unknown → submitted."""
    prediction = parse_prediction_id(one.prediction_id)
    return _report(one, worker, "created", intent_id=parse_uuid(one.intent_id, "intent_id"), prediction_ids=prediction)


def refusal(one: pb.Refusal, worker: UUID) -> Report:
    """submitting or unknown → queued, or failed."""
    return _report(
        one,
        worker,
        _verb(REFUSALS, one.kind),
        intent_id=parse_uuid(one.intent_id, "intent_id"),
        delay=_delay(one.retry_after_seconds),
        code=storable(one.error_code),
        message=storable(one.error_message),
        http_status=one.http_status or None,
    )


def lost(one: pb.UnknownCreate, worker: UUID) -> Report:
    """submitting → unknown."""
    return _report(one, worker, "lost", intent_id=parse_uuid(one.intent_id, "intent_id"), message=storable(one.reason))


def lookup(one: pb.Lookup, worker: UUID) -> Report:
    """unknown → submitted, queued or canceled, or stays."""
    found = ",".join(parse_prediction_id(prediction) for prediction in one.prediction_ids)
    return _report(
        one,
        worker,
        _verb(LOOKUPS, one.outcome),
        prediction_ids=found or None,
        marked=one.marked,
        lookup_begun_at=one.lookup_begun_at or None,
    )


def completion(one: pb.Completion, worker: UUID) -> Report:
    """submitted → succeeded."""
    return _report(
        one,
        worker,
        "complete",
        prediction_ids=parse_prediction_id(one.prediction_id),
        outputs=_outputs(one.outputs),
        predict_seconds=_predict_seconds(one),
    )


def failure(one: pb.Failure, worker: UUID) -> Report:
    """submitted → queued, failed or canceled."""
    return _report(
        one,
        worker,
        _verb(FAILURES, one.kind),
        prediction_ids=parse_prediction_id(one.prediction_id),
        code=storable(one.error_code),
        message=storable(one.error_message),
        outputs=_outputs(one.outputs) if one.outputs else None,
        predict_seconds=_predict_seconds(one),
    )


def release(one: pb.Released, worker: UUID) -> Report:
    """claimed → queued; submitted and unknown stay, unleased."""
    return _report(one, worker, "release", delay=_delay(one.delay_seconds), code=storable(one.reason))


def parse_uuid(text: str, field: str) -> UUID:
    """A UUID, or INVALID_ARGUMENT that names the field."""
    try:
        return UUID(text)
    except ValueError:
        raise invalid_argument([FieldViolation(field, "must be a UUID")]) from None


def parse_prediction_id(text: str) -> str:
    """An id of Replicate's as it may be kept and joined with commas, or INVALID_ARGUMENT."""
    if not text or not text.isascii() or len(text) > 128 or "," in text or "\0" in text:
        raise invalid_argument([FieldViolation("prediction_id", "must be an id of Replicate's")])
    return text


def _report(one: Any, worker: UUID, verb: str, **fields: Any) -> Report:
    return Report(parse_uuid(one.job_id, "job_id"), verb, actor=str(worker), worker=worker, epoch=one.epoch, **fields)


def _outputs(outputs: Iterable[Message]) -> str:
    kept = [{name: getattr(one, name) for name, optional in STORED if not optional or one.HasField(name)} for one in outputs]
    for one in kept:  # an escape of it, as in the JSON text of a value, is text like any other
        one.update({name: value.replace("\0", "") for name, value in one.items() if isinstance(value, str) and "\0" in value})
    return orjson.dumps(kept).decode()


def storable(text: str, limit: int = MAX_MESSAGE) -> str | None:
    """The text as a row can keep it: PostgreSQL has no character U+0000, and nobody reads more than this."""
    return text.replace("\0", "")[:limit] or None


def _delay(seconds: float) -> float | None:
    """A rest that was asked for, of at most a day; None where none was."""
    return min(max(0.0, seconds), MAX_DELAY) if math.isfinite(seconds) and seconds else None


def _predict_seconds(one: pb.Completion | pb.Failure) -> float | None:
    """As it was measured; a number that no clock shows is left out, as no reader could take it."""
    return one.predict_seconds if one.HasField("predict_seconds") and 0 <= one.predict_seconds < math.inf else None


def progress(one: pb.HeldJob) -> float | None:
    """From 0 to 1; None where it is unknown, or no such number: heartbeats of several workers share a statement."""
    return one.progress if one.HasField("progress") and 0 <= one.progress <= 1 else None


def _verb(verbs: dict[Any, str], kind: int) -> str:
    if kind not in verbs:
        raise invalid_argument([FieldViolation("kind", "must be one of its enum's values")])
    return verbs[kind]
