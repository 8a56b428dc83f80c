"""Making a prediction: one intent, one POST, and its outcome on record before anything else happens. The money is here."""

import time
import uuid
from dataclasses import dataclass
from typing import Any

import structlog
from opentelemetry.trace import SpanKind

from chassis import tracing
from chassis.failpoints import failpoint
from generator.bucket import Bucket
from generator.held import Held
from generator.jobs_client import JobsClient
from generator.leash import Leash
from generator.outcomes import Created, CreateOutcome, Refused, Unknown
from generator.replicate_api import NotFound, ReadFailed, ReplicateApi
from generator.webhooks import webhook_url
from mediagen.jobs.v1 import worker_pb2 as pb

log = structlog.get_logger()

CANCEL_TRIES = 3
"""How often the cancel of an orphan is tried: its Cancel-After ends it anyway."""


STORAGE_DOWN_SECONDS = 5.0
"""How long a job rests that was granted just before the bucket went away; another generator's may be in order."""


@dataclass(frozen=True)
class Bound:
    """A prediction that is recorded as this job's own, and ours to follow."""

    prediction_id: str
    """Replicate's id of it."""
    created_at: Any
    """When it was made, as Replicate writes it; anything, as the answer may lack it."""
    age_seconds: float
    """How long ago it may have been made at most."""


async def create(
    held: Held, jobs: JobsClient, api: ReplicateApi, leash: Leash, bucket: Bucket, public_url: str | None = None
) -> Bound | None:
    """Asks for the prediction once and records what came of it. None means that there is nothing to follow.

    It must run to its end, whatever happens to the job meanwhile: a POST that was sent has to be recorded by its intent.
    """
    grant, intent_id, timing = held.grant, str(uuid.uuid4()), leash.timing
    await leash.held()
    if leash.draining:
        return None
    if not bucket.usable.is_set():
        await _put_off(held, jobs)
        return None
    began = time.monotonic()
    failpoint("generator.create.intending")
    intent = await jobs.record_intent(pb.Intent(job_id=grant.job_id, epoch=grant.epoch, intent_id=intent_id))
    if intent.result != pb.RESULT_OK:
        log.info("intent.refused", result=pb.Result.Name(intent.result))
        held.settled = True
        return None
    failpoint("generator.create.intended")
    outcome: CreateOutcome
    if not leash.tight():
        outcome = _not_sent("the last heartbeat is too old")
    elif time.monotonic() - began > timing.send_by_seconds:
        outcome = _not_sent("the intent was recorded too late to send it")
    else:
        failpoint("generator.create.sending")
        webhook = webhook_url(public_url, intent_id, intent.webhook_token)
        with tracing.span("create prediction", SpanKind.CLIENT, {"mediagen.model": grant.model}) as span:
            outcome = await api.create(
                grant.model, grant.input, intent.cancel_after_seconds, timing.create_timeout_seconds, webhook
            )
            span.set_attribute("mediagen.outcome", type(outcome).__name__.lower())
            if isinstance(outcome, Refused):
                tracing.failed(span, outcome.error_code, outcome.http_status)
            elif isinstance(outcome, Unknown):
                tracing.failed(span, "outcome_unknown", outcome.http_status)
    match outcome:
        case Created(prediction):
            return await _record(held, jobs, api, intent_id, prediction, began)
        case Refused():
            await _refuse(held, jobs, api, intent_id, outcome)
        case Unknown(reason):
            held.error = "outcome_unknown"
            log.warning("create.unknown", reason=reason)
            failpoint("generator.create.lost")
            await jobs.record_unknown(pb.UnknownCreate(job_id=grant.job_id, epoch=grant.epoch, intent_id=intent_id, reason=reason))
            failpoint("generator.create.loss_recorded")
    held.settled = True
    return None


async def _put_off(held: Held, jobs: JobsClient) -> None:
    """Gives the job back unharmed: what it made could not be stored now."""
    log.info("create.put_off", reason="storage_down")
    await jobs.release(
        pb.Released(job_id=held.grant.job_id, epoch=held.grant.epoch, delay_seconds=STORAGE_DOWN_SECONDS, reason="storage_down")
    )
    held.settled = True


def _not_sent(reason: str) -> Refused:
    return Refused(pb.REFUSAL_KIND_NOT_SENT, 0, "not_sent", reason)


async def _record(
    held: Held, jobs: JobsClient, api: ReplicateApi, intent_id: str, prediction: dict[str, Any], began: float
) -> Bound | None:
    prediction_id: str = prediction["id"]
    failpoint("generator.create.answered")
    result = await jobs.record_prediction(
        pb.CreatedPrediction(job_id=held.grant.job_id, epoch=held.grant.epoch, intent_id=intent_id, prediction_id=prediction_id)
    )
    failpoint("generator.create.recorded")
    log.info("prediction.created", prediction_id=prediction_id, result=pb.Result.Name(result))
    if result == pb.RESULT_OK:
        return Bound(prediction_id, prediction.get("created_at"), time.monotonic() - began)
    held.settled = True
    if result == pb.RESULT_ORPHAN:
        await cancel_orphan(api, prediction_id)
    return None


async def cancel_orphan(api: ReplicateApi, prediction_id: str) -> None:
    """Cancels a prediction that nobody can ever bind. What fails is left to its time limit."""
    for _ in range(CANCEL_TRIES):
        try:
            failpoint("generator.orphan.canceling")
            await api.cancel(prediction_id)
            failpoint("generator.orphan.canceled")
        except ReadFailed as error:
            log.warning("orphan.cancel_failed", prediction_id=prediction_id, error=str(error))
        except NotFound:
            return
        else:
            log.info("orphan.canceled", prediction_id=prediction_id)
            return


async def _refuse(held: Held, jobs: JobsClient, api: ReplicateApi, intent_id: str, refused: Refused) -> None:
    kind, code = refused.kind, refused.error_code
    if refused.http_status in (401, 403) and await api.account_answers():
        kind, code = pb.REFUSAL_KIND_REJECTED, "model_forbidden"  # the account is in order, so it is about this model
    held.error = code
    log.info("create.refused", kind=pb.RefusalKind.Name(kind), code=code, status=refused.http_status)
    failpoint("generator.create.refused")
    await jobs.record_refusal(
        pb.Refusal(
            job_id=held.grant.job_id,
            epoch=held.grant.epoch,
            intent_id=intent_id,
            kind=kind,
            http_status=refused.http_status,
            error_code=code,
            error_message=refused.message,
            retry_after_seconds=refused.retry_after_seconds,
        )
    )
    failpoint("generator.create.refusal_recorded")
