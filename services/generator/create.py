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


@dataclass(frozen=True)
class _Intent:
    """A recorded intent: the authority to send one POST."""

    id: str
    cancel_after_seconds: float
    webhook_token: str
    asked_at: float
    """Before it was recorded, by the monotonic clock."""


async def create(
    held: Held, jobs: JobsClient, api: ReplicateApi, leash: Leash, bucket: Bucket, public_url: str | None = None
) -> Bound | None:
    """Asks for the prediction once and records what came of it. None means that there is nothing to follow.

    It must run to its end, whatever happens to the job meanwhile: a POST that was sent has to be recorded by its intent.
    """
    held.creating = True
    intent = _granted(held) or await _intend(held, jobs, leash)
    if intent is None:
        return None
    failpoint("generator.create.intended")
    if refusal := _withheld(held, intent, leash, bucket):
        await _refuse(held, jobs, refusal)
        return None
    failpoint("generator.create.sending")
    outcome = await _send(held.grant, intent, leash, api, public_url)
    match outcome:
        case Created(prediction):
            return await _record(held, jobs, api, intent, prediction)
        case Refused():
            await _refuse(held, jobs, await _understood(outcome, held.grant, intent, api))
        case Unknown(reason):
            await _lose(held, jobs, intent, reason)
    return None


def _granted(held: Held) -> _Intent | None:
    """The intent that came with the grant."""
    grant = held.grant
    if not grant.intent_id:
        return None
    return _Intent(grant.intent_id, grant.cancel_after_seconds, grant.webhook_token, held.asked_at)


async def _intend(held: Held, jobs: JobsClient, leash: Leash) -> _Intent | None:
    """Records an intent, as a `jobs` of the version before grants none. None where nothing is to be sent."""
    grant, intent_id = held.grant, str(uuid.uuid4())
    await leash.held()
    if leash.draining:
        return None
    asked_at = time.monotonic()
    answer = await jobs.record_intent(pb.Intent(job_id=grant.job_id, epoch=grant.epoch, intent_id=intent_id))
    if answer.result != pb.RESULT_OK:
        log.info("intent.refused", result=pb.Result.Name(answer.result))
        held.settled = True
        return None
    return _Intent(intent_id, answer.cancel_after_seconds, answer.webhook_token, asked_at)


def _withheld(held: Held, intent: _Intent, leash: Leash, bucket: Bucket) -> pb.Refusal | None:
    """Why the POST must not be sent after all, if so."""
    if time.monotonic() - intent.asked_at > leash.timing.send_by_seconds:
        return not_sent(held.grant, intent.id, "the intent was recorded too late to send it")
    if not leash.tight():
        return not_sent(held.grant, intent.id, "the last heartbeat is too old")
    if leash.draining:
        return not_sent(held.grant, intent.id, "the generator ends")
    if held.settled:
        return not_sent(held.grant, intent.id, "the lease had passed")
    if held.end_asked.done() or intent.cancel_after_seconds <= 0:
        return not_sent(held.grant, intent.id, "the job's end was asked for, or its deadline had passed")
    if not bucket.usable.is_set():
        return not_sent(held.grant, intent.id, "the bucket is away", STORAGE_DOWN_SECONDS)
    return None


def not_sent(grant: pb.Grant, intent_id: str, reason: str, rest_seconds: float = 0.0) -> pb.Refusal:
    """The report that this intent's POST was not sent and will not be; the job rests for at least `rest_seconds`."""
    return pb.Refusal(
        job_id=grant.job_id,
        epoch=grant.epoch,
        intent_id=intent_id,
        kind=pb.REFUSAL_KIND_NOT_SENT,
        error_code="not_sent",
        error_message=reason,
        retry_after_seconds=rest_seconds,
    )


async def _send(grant: pb.Grant, intent: _Intent, leash: Leash, api: ReplicateApi, public_url: str | None) -> CreateOutcome:
    """The one POST of the intent."""
    webhook = webhook_url(public_url, intent.id, intent.webhook_token)
    timeout = leash.timing.create_timeout_seconds
    with tracing.span("create prediction", SpanKind.CLIENT, {"mediagen.model": grant.model}) as span:
        outcome = await api.create(grant.model, grant.input, intent.cancel_after_seconds, timeout, webhook)
        span.set_attribute("mediagen.outcome", type(outcome).__name__.lower())
        if isinstance(outcome, Refused):
            tracing.failed(span, outcome.error_code, outcome.http_status)
        elif isinstance(outcome, Unknown):
            tracing.failed(span, "outcome_unknown", outcome.http_status)
    return outcome


async def _record(held: Held, jobs: JobsClient, api: ReplicateApi, intent: _Intent, prediction: dict[str, Any]) -> Bound | None:
    prediction_id: str = prediction["id"]
    failpoint("generator.create.answered")
    result = await jobs.record_prediction(
        pb.CreatedPrediction(job_id=held.grant.job_id, epoch=held.grant.epoch, intent_id=intent.id, prediction_id=prediction_id)
    )
    failpoint("generator.create.recorded")
    log.info("prediction.created", prediction_id=prediction_id, result=pb.Result.Name(result))
    if result == pb.RESULT_OK:
        return Bound(prediction_id, prediction.get("created_at"), time.monotonic() - intent.asked_at)
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


async def _understood(refused: Refused, grant: pb.Grant, intent: _Intent, api: ReplicateApi) -> pb.Refusal:
    """The report of what Replicate refused, or of what never left."""
    kind, code = refused.kind, refused.error_code
    if refused.http_status in (401, 403) and await api.account_answers():
        kind, code = pb.REFUSAL_KIND_REJECTED, "model_forbidden"  # the account is in order, so it is about this model
    return pb.Refusal(
        job_id=grant.job_id,
        epoch=grant.epoch,
        intent_id=intent.id,
        kind=kind,
        http_status=refused.http_status,
        error_code=code,
        error_message=refused.message,
        retry_after_seconds=refused.retry_after_seconds,
    )


async def _refuse(held: Held, jobs: JobsClient, refusal: pb.Refusal) -> None:
    """Reports that there is no prediction for certain."""
    held.error = refusal.error_code
    log.info("create.refused", kind=pb.RefusalKind.Name(refusal.kind), code=refusal.error_code, status=refusal.http_status)
    failpoint("generator.create.refused")
    await jobs.record_refusal(refusal)
    failpoint("generator.create.refusal_recorded")
    held.settled = True


async def _lose(held: Held, jobs: JobsClient, intent: _Intent, reason: str) -> None:
    """Reports that there may be a prediction, of which nothing is known."""
    held.error = "outcome_unknown"
    log.warning("create.unknown", reason=reason)
    failpoint("generator.create.lost")
    grant = held.grant
    await jobs.record_unknown(pb.UnknownCreate(job_id=grant.job_id, epoch=grant.epoch, intent_id=intent.id, reason=reason))
    failpoint("generator.create.loss_recorded")
    held.settled = True
