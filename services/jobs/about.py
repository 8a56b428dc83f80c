"""What log lines and spans say of a job: those of a statement that is about many jobs name each one's own ids."""

from typing import Any
from uuid import UUID

from chassis import tracing


def ids(job_id: UUID, row: Any) -> dict[str, str | None]:
    """What a log line names; `row` is what the statement that writes states returned of the job."""
    trace_id = tracing.trace_id(row.get("traceparent")) or None
    return {"job_id": str(job_id), "request_id": row.get("request_id"), "trace_id": trace_id}


def attributes(job_id: UUID, row: Any) -> tracing.Attributes:
    """What a span says."""
    return {"mediagen.job_id": str(job_id), "mediagen.result": row["result"], "mediagen.state": str(row["state"])}
