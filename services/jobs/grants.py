"""What a worker is told of a job that it is to work on."""

from typing import Any
from uuid import UUID

from jobs import access
from jobs.keys import Tenant
from jobs.store import NewJob
from jobs.timing import Timing
from mediagen.jobs.v1.worker_pb2 import MODE_ATTACH, MODE_CREATE, MODE_RECONCILE, Grant

MAX_GRANTS = 128
"""Jobs that one claim is answered with: the largest of them together stay within one message."""

MODES = {"claim": MODE_CREATE, "begin": MODE_CREATE, "attach": MODE_ATTACH, "reconcile": MODE_RECONCILE}
"""What each verb of a claim asks for."""


def claimed(row: Any, timing: Timing) -> Grant:
    """The grant of a row that a claim returned."""
    grant = Grant(
        job_id=str(row["job_id"]),
        epoch=row["epoch"],
        mode=MODES[row["verb"]],
        model=row["model"],
        input=row["input"],
        deadline_in_seconds=row["deadline_in"],
        prediction_id=row["prediction_id"] or "",
        intent_age_seconds=row["intent_age"] or 0.0,
        intent_id=str(row["intent_id"] or ""),
        settle_in_seconds=row["settle_in"] or 0.0,
        request_id=row["request_id"] or "",
        traceparent=row["traceparent"] or "",
        cancel_requested=row["cancel_requested"],
        lookup_begun_at=row["lookup_begun_at"] or 0,
    )
    if row["verb"] == "begin":
        grant.cancel_after_seconds, grant.webhook_token = authority(
            row["intent_id"], row["signing_secret"], row["deadline_in"], timing
        )
    return grant


def begun(job: NewJob, tenant: Tenant, model_input: str, intent_id: UUID, offered_seconds: float, timing: Timing) -> Grant:
    """The grant of a job that was begun as it was accepted. The worker has the whole of its deadline."""
    cancel_after, token = authority(intent_id, tenant.signing_secret, job.deadline, timing)
    return Grant(
        job_id=str(job.id),
        epoch=1,
        mode=MODE_CREATE,
        model=job.model,
        input=model_input,
        deadline_in_seconds=job.deadline,
        intent_id=str(intent_id),
        request_id=job.request_id or "",
        traceparent=job.traceparent or "",
        cancel_after_seconds=cancel_after,
        webhook_token=token,
        offered_seconds=offered_seconds,
    )


def authority(intent_id: UUID, signing_secret: bytes, deadline_in: float, timing: Timing) -> tuple[float, str]:
    """What a recorded intent's POST is sent with: Cancel-After in seconds, and the webhook's token."""
    return min(timing.prediction, deadline_in), access.sign_webhook(signing_secret, str(intent_id))
