"""One job from its grant to its end here: create, attach or reconcile; then follow, store and report."""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from chassis import tracing
from chassis.failpoints import failpoint
from generator.bucket import Bucket
from generator.create import Bound, create
from generator.held import Held, to_its_end
from generator.jobs_client import JobsClient
from generator.leash import Leash
from generator.lookup import Lookups, LostCreate
from generator.moments import moment
from generator.outcomes import failure
from generator.outputs import UnusableOutput, collect
from generator.poller import Poller, PredictionGone
from generator.reads import ReadBudget
from generator.replicate_api import TERMINAL, NotFound, Prediction, ReadFailed, ReplicateApi
from generator.storing import Storing, StoringFailed
from mediagen.jobs.v1 import worker_pb2 as pb

log = structlog.get_logger()

OVERTIME = 1.05
"""How far past its limit, as a share of it, a prediction may come by Cancel-After, before the generator cancels it itself."""

EXPIRY_MARGIN = 1 / 12
"""The last part of the outputs' life, as a share of it, in which no further copy is begun: five minutes of an hour."""


@dataclass(frozen=True)
class Tools:
    """What every job works with."""

    jobs: JobsClient
    api: ReplicateApi
    leash: Leash
    poller: Poller
    budget: ReadBudget
    lookups: Lookups
    storing: Storing
    bucket: Bucket
    public_url: str | None = None
    """Where the gateway can be reached from Replicate, for webhooks; None without."""


async def run_job(held: Held, tools: Tools) -> str:
    """Takes a granted job as far as it goes, and returns in a word what became of it here."""
    match held.grant.mode:
        case pb.MODE_CREATE:
            # Sent and recorded even where the job is lost or the process ends meanwhile: the answer is a paid prediction.
            bound = await to_its_end(create(held, tools.jobs, tools.api, tools.leash, tools.bucket, tools.public_url))
        case pb.MODE_ATTACH:
            bound = Bound(held.grant.prediction_id, None, held.grant.intent_age_seconds)
        case pb.MODE_RECONCILE:
            bound = await reconcile(held, tools)
        case mode:
            log.error("grant.unknown_mode", mode=mode)  # of a newer jobs: its lease expires, and another worker takes it
            return "unknown_mode"
    if bound is None:
        return "not_created"
    structlog.contextvars.bind_contextvars(prediction_id=bound.prediction_id)
    try:
        with tracing.span("follow prediction", attributes={"mediagen.prediction_id": bound.prediction_id}) as span:
            prediction = await follow(held, bound, tools)
            span.set_attribute("mediagen.status", str(prediction["status"]))
    except PredictionGone:
        # Permanent: records outlive their data at Replicate, so this one belongs to another account or another server, where it may
        # well be alive. Another attempt would pay for a second one.
        lost = pb.FAILURE_KIND_CANCELED if held.end_asked.done() else pb.FAILURE_KIND_PERMANENT
        return await fail(held, tools, bound.prediction_id, lost, "prediction_lost", "Replicate has no record of the prediction.")
    failpoint("generator.prediction.ended")
    log.info("prediction.ended", status=prediction["status"])
    if held.end_asked.done():
        return await fail(held, tools, bound.prediction_id, pb.FAILURE_KIND_CANCELED, "canceled", "", prediction)
    match prediction["status"]:
        case "succeeded":
            return await store(held, bound.prediction_id, prediction, tools)
        case "aborted":
            kind, code, message = pb.FAILURE_KIND_ABORTED, "provider_aborted", "Replicate ended the prediction before it began."
        case "canceled":
            kind, code, message = pb.FAILURE_KIND_CANCELED, "provider_timeout", "Replicate ended the prediction at its time limit."
        case _:
            code, kind, message = failure(prediction.get("error"))
    return await fail(held, tools, bound.prediction_id, kind, code, message, prediction)


async def reconcile(held: Held, tools: Tools) -> Bound | None:
    """Looks for the lost create until jobs binds what was found, or rules it out. None means that the job is no longer ours."""
    grant = held.grant
    begun_at = grant.lookup_begun_at
    while True:
        age = grant.intent_age_seconds + time.monotonic() - held.granted_at
        sighting = await tools.lookups.look(LostCreate(grant.intent_id, grant.model, grant.input, age))
        failpoint("generator.lookup.read")
        result = await tools.jobs.report_lookup(
            pb.Lookup(
                job_id=grant.job_id,
                epoch=grant.epoch,
                outcome=sighting.outcome,
                prediction_ids=sighting.prediction_ids,
                marked=sighting.marked,
                lookup_begun_at=begun_at,
            )
        )
        failpoint("generator.lookup.reported")
        log.info(
            "lookup.reported",
            outcome=pb.LookupOutcome.Name(sighting.outcome),
            matches=len(sighting.prediction_ids),
            marked=sighting.marked,
            result=pb.Result.Name(result.result),
        )
        if result.result in (pb.RESULT_TOO_EARLY, pb.RESULT_TAKEN):
            begun_at = result.lookup_begun_at
            await asyncio.sleep(max(result.retry_after_seconds, 0.05))
        elif result.result == pb.RESULT_OK and result.prediction_id:
            return Bound(result.prediction_id, None, age)
        else:
            held.settled = True
            return None


async def follow(held: Held, bound: Bound, tools: Tools) -> Prediction:
    """The prediction in its terminal state. On the way it is cancelled where that was asked for, or where its time is over.

    Raises PredictionGone.
    """

    def changed(progress: float | None, status: str) -> None:
        held.progress, held.provider_status = progress if progress is not None else held.progress, status

    ended = tools.poller.follow(bound.prediction_id, bound.created_at, changed)
    limit = tools.leash.timing.prediction_seconds * OVERTIME - bound.age_seconds
    waiting: set[asyncio.Future[Any]] = {ended, held.end_asked}
    try:
        done, _ = await asyncio.wait(waiting, timeout=max(0.0, limit), return_when=asyncio.FIRST_COMPLETED)
        if ended in done:
            return ended.result()
        log.info("prediction.canceling", over_its_limit=not done)
        return await _cancelled(bound.prediction_id, ended, tools)
    finally:
        if not ended.cancel() and not ended.cancelled():
            ended.exception()  # seen, also where nobody waits for it any more


async def _cancelled(prediction_id: str, ended: asyncio.Future[Prediction], tools: Tools) -> Prediction:
    """Cancels the prediction and returns its last state, whatever that is; repeats the cancel until it has one."""
    delay = 0.5
    while not ended.done():
        try:
            tools.budget.spend()
            failpoint("generator.prediction.canceling")
            await tools.api.cancel(prediction_id)
            failpoint("generator.prediction.canceled")
            log.info("prediction.cancel_asked")
            tools.budget.spend()
            prediction = await tools.api.get(prediction_id)
            if prediction["status"] in TERMINAL:
                return prediction
        except ReadFailed as error:
            log.warning("prediction.cancel_failed", error=str(error))
            delay = max(delay, error.retry_after_seconds)
        except NotFound:
            pass  # the poller decides what is gone
        await asyncio.wait({ended}, timeout=delay)
        delay = min(delay * 2, 30)
    return ended.result()


async def store(held: Held, prediction_id: str, prediction: Prediction, tools: Tools) -> str:
    """Stores what a prediction made and completes the job, or fails it with what could be kept."""
    if prediction.get("data_removed"):
        message = "Replicate had removed the outputs before they were stored."
        return await fail(held, tools, prediction_id, pb.FAILURE_KIND_PERMANENT, "output_expired", message, prediction)
    try:
        sources = collect(prediction.get("output"))
        with tracing.span("store outputs", attributes={"mediagen.outputs": len(sources)}):
            prefix = f"out/{held.grant.job_id}/{held.grant.epoch}"
            stored = await _unless_canceled(held, tools.storing.store(sources, prefix, _expires_at(prediction, tools)))
    except UnusableOutput as error:
        return await fail(held, tools, prediction_id, pb.FAILURE_KIND_PERMANENT, error.code, str(error), prediction)
    except StoringFailed as error:
        return await fail(held, tools, prediction_id, pb.FAILURE_KIND_PERMANENT, error.code, str(error), prediction, error.stored)
    if stored is None:
        return await fail(held, tools, prediction_id, pb.FAILURE_KIND_CANCELED, "canceled", "", prediction)
    failpoint("generator.job.stored")
    held.on_ending(held)
    result = await tools.jobs.complete(
        pb.Completion(
            job_id=held.grant.job_id,
            epoch=held.grant.epoch,
            prediction_id=prediction_id,
            outputs=stored,
            predict_seconds=predict_seconds(prediction),
        )
    )
    failpoint("generator.job.completed")
    held.settled = True
    log.info("job.completed", outputs=len(stored), result=pb.Result.Name(result))
    return "completed"


async def fail(
    held: Held,
    tools: Tools,
    prediction_id: str,
    kind: pb.FailureKind.ValueType,
    code: str,
    message: str,
    prediction: Prediction | None = None,
    stored: Sequence[pb.StoredOutput] = (),
) -> str:
    """Reports that the prediction, or the storing of its outputs, came to nothing; jobs decides what follows."""
    failpoint("generator.job.failing")
    held.on_ending(held)
    held.error = "" if code == "canceled" else code  # an end that was asked for is no error
    result = await tools.jobs.fail(
        pb.Failure(
            job_id=held.grant.job_id,
            epoch=held.grant.epoch,
            prediction_id=prediction_id,
            kind=kind,
            error_code=code,
            error_message=message,
            outputs=stored,
            predict_seconds=predict_seconds(prediction or {}),
        )
    )
    failpoint("generator.job.failed")
    held.settled = True
    log.info("job.failed", kind=pb.FailureKind.Name(kind), code=code, result=pb.Result.Name(result))
    return code


async def _unless_canceled(held: Held, storing: Coroutine[Any, Any, list[pb.StoredOutput]]) -> list[pb.StoredOutput] | None:
    """What `storing` returns, or None where the job's end was asked for first: a bucket that is away must not delay a cancel."""
    task = asyncio.ensure_future(storing)
    waiting: set[asyncio.Future[Any]] = {task, held.end_asked}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        elif not task.cancelled():
            task.exception()  # seen, also where this one is cancelled


def predict_seconds(prediction: Prediction) -> float | None:
    """The seconds that Replicate bills; None where it does not tell."""
    metrics = prediction.get("metrics")
    seconds = metrics.get("predict_time") if isinstance(metrics, dict) else None
    return max(0.0, float(seconds)) if isinstance(seconds, int | float) and not isinstance(seconds, bool) else None


def _expires_at(prediction: Prediction, tools: Tools) -> float:
    """Until when, by the monotonic clock, a copy of the outputs may be begun. Their age is told by Replicate's clock alone."""
    life = tools.leash.timing.output_lifetime_seconds * (1 - EXPIRY_MARGIN)
    completed = moment(prediction.get("completed_at"))
    gone_by = max(0.0, (tools.api.now() - completed).total_seconds()) if completed else 0.0
    return time.monotonic() + life - gone_by
