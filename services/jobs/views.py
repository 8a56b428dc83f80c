"""A row of jobs as its owner sees it: the proto Job."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from jobs import access
from jobs.keys import Tenant
from mediagen.jobs.v1 import jobs_pb2

STATUSES = {
    "pending": jobs_pb2.JOB_STATUS_PENDING,
    "processing": jobs_pb2.JOB_STATUS_PROCESSING,
    "completed": jobs_pb2.JOB_STATUS_COMPLETED,
    "failed": jobs_pb2.JOB_STATUS_FAILED,
    "canceled": jobs_pb2.JOB_STATUS_CANCELED,
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def job_view(row: Any, tenant: Tenant, access_token_seconds: int) -> jobs_pb2.Job:
    """The job in a row of sql/get.sql. `access_token_seconds` is how long its links work, 0 for ever."""
    job = jobs_pb2.Job(
        id=row["id"],
        prompt=row["prompt"],
        model=row["model"],
        parameters=row["parameters"],
        status=STATUSES[row["status"]],
        retry_count=row["retry_count"],
        media_path=row["media_path"] or "",
        error_code=row["error_code"] or "",
        error_message=row["error_message"] or "",
        progress=row["progress"],
        version=row["version"],
        priority=row["priority"],
        metadata=orjson.loads(row["request"]).get("metadata", {}),
    )
    for name in ("created_at", "updated_at", "started_at", "finished_at", "deadline_at", "cancel_requested_at"):
        if row[name] is not None:
            _set(getattr(job, name), row[name])
    job.waiting_for, until = waiting(row)
    if until is not None:
        _set(job.waiting_until, until)
    expires = int((row["now"] + timedelta(seconds=access_token_seconds)).timestamp()) if access_token_seconds else 0
    for output in orjson.loads(row["outputs"] or "[]"):
        shown = job.outputs.add(**output)
        if shown.object_key:
            shown.access_token = access.sign(tenant.signing_secret, str(tenant.id), job.id, shown.index, expires)
    job.attempts.extend(attempt_view(attempt) for attempt in orjson.loads(row["attempts"] or "[]"))
    return job


def waiting(row: Any) -> tuple[str, datetime | None]:
    """What an unfinished job waits for, and until when at least."""
    if row["state"] == "queued":
        if row["not_before"] > row["now"]:
            return row["wait_reason"] or "retry", row["not_before"]
        if row["lane_paused_until"] is not None:
            return "rate_limit" if row["paused_reason"] == "rate_limit" else "lane_paused", row["lane_paused_until"]
        return "generator", None
    if row["state"] == "unknown":
        return "verification", None
    if row["state"] == "submitted" and row["provider_status"] in (None, "starting"):
        return "provider", None
    return "", None


def attempt_view(attempt: dict[str, Any]) -> jobs_pb2.Attempt:
    """One submission, as sql/get.sql aggregates it."""
    times = {name: attempt.pop(name) for name in ("created_at", "finished_at")}
    shown = jobs_pb2.Attempt(**{name: value for name, value in attempt.items() if value is not None})
    for name, seconds in times.items():
        if seconds is not None:
            _set(getattr(shown, name), _EPOCH + timedelta(seconds=seconds))
    return shown


def _set(stamp: Timestamp, at: datetime) -> None:
    """As its FromDatetime does, in a quarter of the time: a job has six, and they were half of a view.

    asyncpg gives times in UTC, and `infinity`, which somebody may pause a lane with, without a zone.
    """
    since = at.replace(tzinfo=UTC) - _EPOCH
    stamp.seconds, stamp.nanos = since.days * 86_400 + since.seconds, since.microseconds * 1000
