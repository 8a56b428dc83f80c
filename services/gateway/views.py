"""From a job as `jobs` tells it to the JSON that users see (the JobView of schemas.py)."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import orjson
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from mediagen.jobs.v1 import jobs_pb2

STATUS = {
    number: name.removeprefix("JOB_STATUS_").lower()
    for name, number in jobs_pb2.JobStatus.items()
    if number != jobs_pb2.JOB_STATUS_UNSPECIFIED
}
"""The enum's values by the words that REST uses."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_json(view: dict[str, Any]) -> bytes:
    """A view as JSON text; times are RFC 3339 and end with Z."""
    return orjson.dumps(view, option=orjson.OPT_UTC_Z)


def job_view(job: jobs_pb2.Job, base_url: str) -> dict[str, Any]:
    """One job; links begin with `base_url`, the scheme and host that the caller used."""
    outputs = [_output_view(job.id, output, base_url) for output in job.outputs]
    return {
        "id": job.id,
        "prompt": job.prompt,
        "model": job.model,
        "parameters": orjson.Fragment(job.parameters or "{}"),
        "status": STATUS.get(job.status, "processing"),  # a state that a newer server knows is under way, as far as we know
        "created_at": _time(job, "created_at"),
        "updated_at": _time(job, "updated_at"),
        "started_at": _time(job, "started_at"),
        "finished_at": _time(job, "finished_at"),
        "deadline_at": _time(job, "deadline_at"),
        "cancel_requested_at": _time(job, "cancel_requested_at"),
        "retry_count": job.retry_count,
        "media_path": job.media_path or None,
        "media_url": outputs[0]["url"] if job.media_path and outputs else None,
        "outputs": outputs,
        "error_message": job.error_message or None,
        "error_code": job.error_code or None,
        "progress": job.progress if job.HasField("progress") else None,
        "waiting_for": job.waiting_for or None,
        "waiting_until": _time(job, "waiting_until"),
        "attempts": [_attempt_view(attempt) for attempt in job.attempts],
        "version": job.version,
        "priority": job.priority,
        "metadata": dict(job.metadata),
    }


def _output_view(job_id: str, output: jobs_pb2.Output, base_url: str) -> dict[str, Any]:
    url = f"{base_url}/api/v1/images/{job_id}/{output.index}"
    if output.access_token:
        url += f"?sig={quote(output.access_token, safe='')}"
    return {
        "index": output.index,
        "url": url if output.object_key else None,
        "content_type": output.content_type,
        "size": output.size,
        "sha256": output.sha256 or None,
        "width": output.width if output.HasField("width") else None,
        "height": output.height if output.HasField("height") else None,
        "value": orjson.Fragment(output.value) if output.value else None,
    }


def _attempt_view(attempt: jobs_pb2.Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "state": attempt.state,
        "prediction_id": attempt.prediction_id or None,
        "created_at": _time(attempt, "created_at"),
        "finished_at": _time(attempt, "finished_at"),
        "error_code": attempt.error_code or None,
        "error_message": attempt.error_message or None,
        "predict_seconds": attempt.predict_seconds if attempt.HasField("predict_seconds") else None,
    }


def _time(message: Message, field: str) -> datetime | None:
    if not message.HasField(field):
        return None
    at: Timestamp = getattr(message, field)
    return _EPOCH + timedelta(0, at.seconds, at.nanos // 1000)  # by their places: to name them takes half as long again
