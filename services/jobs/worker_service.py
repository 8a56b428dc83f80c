"""WorkerService: claims, heartbeats and reports of generators (worker.proto), each turned into rows of one statement."""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import grpc
import structlog
from opentelemetry.trace import SpanKind

from chassis import tracing
from chassis.batching import PACE_SECONDS, Batcher
from chassis.errors import AppError, FieldViolation, invalid_argument, unavailable
from chassis.failpoints import failpoint
from jobs import grants, metrics, reports
from jobs.about import attributes, ids
from jobs.inbox import Inbox
from jobs.offers import Offers
from jobs.relay import Relay
from jobs.reports import parse_uuid
from jobs.store import ClaimCall, HeldJob, NotedWorker, Report, Store
from jobs.timing import Timing
from mediagen.jobs.v1 import worker_pb2, worker_pb2_grpc

log = structlog.get_logger()

MAX_BATCH = 1000
MAX_STATUS = 40
LOOK_AGAIN_SECONDS = 0.5

Message = TypeVar("Message")

Context = grpc.aio.ServicerContext[Any, Any]

RESULTS = {
    "ok": worker_pb2.RESULT_OK,
    "stale": worker_pb2.RESULT_STALE,
    "not_holder": worker_pb2.RESULT_NOT_HOLDER,
    "orphan": worker_pb2.RESULT_ORPHAN,
    "taken": worker_pb2.RESULT_TAKEN,
    "canceled": worker_pb2.RESULT_CANCELED,
    "too_early": worker_pb2.RESULT_TOO_EARLY,
}


def worker_authenticator(token: str) -> Any:
    """Lets in who shows the worker token, and nobody else."""

    async def authenticate(shown: str | None) -> str:
        if shown is None or not hmac.compare_digest(shown.encode(), token.encode()):
            raise AppError(grpc.StatusCode.UNAUTHENTICATED, "WORKER_TOKEN_INVALID", "Send the worker token as the bearer token.")
        return "worker"

    return authenticate


class WorkerService(worker_pb2_grpc.WorkerServiceServicer):
    """Each method does what worker.proto says of it."""

    def __init__(self, store: Store, relay: Relay, inbox: Inbox, offers: Offers, timing: Timing) -> None:
        """Claims, heartbeats and reports of all workers share statements; at most one report of a job is in each."""
        self._store = store
        self._relay = relay
        self._inbox = inbox
        self._offers = offers
        self._timing = timing
        self._reports: Batcher[Report, Any] = Batcher(
            store.transition, lanes=2, pace=PACE_SECONDS, key=lambda report: report.job_id
        )
        self._claims: Batcher[ClaimCall, list[asyncpg.Record]] = Batcher(store.claim, limit=32)
        self._beats: Batcher[tuple[NotedWorker, list[HeldJob]], tuple[list[asyncpg.Record], int]] = Batcher(
            self._beat, limit=32, key=lambda beat: beat[0][0]
        )

    async def Claim(self, request: worker_pb2.ClaimRequest, context: Context) -> worker_pb2.ClaimResponse:
        """Leases named jobs, or whatever is due."""
        worker = parse_uuid(request.worker_id, "worker_id")
        if not 1 <= request.slots <= MAX_BATCH:
            raise invalid_argument([FieldViolation("slots", f"must be from 1 to {MAX_BATCH}")])
        slots = min(request.slots, grants.MAX_GRANTS)
        intents = tuple(parse_uuid(intent_id, "intent_ids") for intent_id in request.intent_ids)
        if intents and not len(set(intents)) == len(intents) == (len(request.job_ids) or request.slots):
            violation = FieldViolation("intent_ids", "must be none, or a different one for each of job_ids or else of slots")
            raise invalid_argument([violation])
        if request.job_ids:
            named = tuple(parse_uuid(job_id, "job_ids") for job_id in request.job_ids[:MAX_BATCH])
            failpoint("jobs.claim.received")
            rows = await self._claims.submit(ClaimCall(worker, named, slots, request.no_creates, intents[:MAX_BATCH]))
            failpoint("jobs.claim.committed")
            if len(rows) < len(named):
                self._relay.wake()  # the others are due again
        else:
            rows = await self._store.claim_due(worker, slots, request.no_creates, intents)
        for row in rows:
            log.info("job.claimed", **ids(row["job_id"], row), epoch=row["epoch"], mode=row["verb"], worker_id=str(worker))
        self._relay.wake_for_room()  # what was rung for is claimed
        return worker_pb2.ClaimResponse(grants=[grants.claimed(row, self._timing) for row in rows])

    async def Offer(
        self, requests: AsyncIterator[worker_pb2.OfferRequest], context: Context
    ) -> AsyncIterator[worker_pb2.OfferResponse]:
        """Grants jobs as they are accepted, in the slots that the worker holds out."""
        if (first := await anext(requests, None)) is None:
            return
        await context.send_initial_metadata(())  # from then on gRPC does not repeat the call by itself: its intents may be used
        with self._offers.held_out(parse_uuid(first.worker_id, "worker_id")) as offer:

            async def hear() -> None:
                offer.hear(parse_uuid(intent_id, "intent_ids") for intent_id in first.intent_ids)
                async for request in requests:
                    offer.hear(parse_uuid(intent_id, "intent_ids") for intent_id in request.intent_ids)

            hearing = asyncio.create_task(hear())

            def heard(ended: asyncio.Task[None]) -> None:
                if not ended.cancelled():
                    ended.exception()  # seen: it is raised below where somebody waits for it
                offer.close()

            hearing.add_done_callback(heard)
            try:
                while not offer.over:
                    await offer.changed.wait()
                    offer.changed.clear()
                    if granted := offer.take_grants():
                        failpoint("jobs.offer.granted")
                        yield worker_pb2.OfferResponse(grants=granted)
            finally:
                hearing.cancel()
            if offer.lost:
                raise unavailable("It is not known whether jobs were begun; claim them.")
            if hearing.done() and not hearing.cancelled():
                hearing.result()

    async def Heartbeat(self, request: worker_pb2.HeartbeatRequest, context: Context) -> worker_pb2.HeartbeatResponse:
        """Extends leases, and shares the account's reads out."""
        worker = parse_uuid(request.worker_id, "worker_id")
        held = [
            (
                worker,
                parse_uuid(job.job_id, "held.job_id"),
                job.epoch,
                reports.progress(job),
                reports.storable(job.provider_status, MAX_STATUS),
            )
            for job in request.held
        ]
        noted = (worker, request.slots, request.free_slots, request.no_creates, max(0, request.reads_wanted), request.leaving)
        failpoint("jobs.heartbeat.received")
        rows, allowance = await self._beats.submit((noted, held))
        failpoint("jobs.heartbeat.committed")
        return worker_pb2.HeartbeatResponse(
            lost_job_ids=[str(row["job_id"]) for row in rows if row["lost"]],
            cancel_job_ids=[str(row["job_id"]) for row in rows if row["cancel"] and not row["lost"]],
            read_allowance=allowance,
            timing=self._timing.to_proto(),
        )

    async def _beat(self, beats: list[tuple[NotedWorker, list[HeldJob]]]) -> list[tuple[list[asyncpg.Record], int]]:
        rows, allowances = await asyncio.gather(
            self._store.heartbeat([job for _, held in beats for job in held]),
            self._store.note_workers([noted for noted, _ in beats]),
        )
        of: dict[UUID, list[asyncpg.Record]] = {noted[0]: [] for noted, _ in beats}
        for row in rows:
            of[row["worker"]].append(row)
        return [(of[noted[0]], allowances.get(noted[0], 0)) for noted, _ in beats]

    async def RecordIntent(self, request: worker_pb2.RecordIntentRequest, context: Context) -> worker_pb2.RecordIntentResponse:
        """claimed → submitting."""
        rows = await self._apply(request.worker_id, request.intents, reports.intent)
        return worker_pb2.RecordIntentResponse(results=[self._intent_result(row) for row in rows])

    def _intent_result(self, row: asyncpg.Record) -> worker_pb2.IntentResult:
        result = worker_pb2.IntentResult(result=RESULTS[row["result"]])
        if row["result"] == "ok":
            result.cancel_after_seconds, result.webhook_token = grants.authority(
                row["intent_id"], row["signing_secret"], row["deadline_in"], self._timing
            )
        return result

    async def RecordPrediction(
        self, request: worker_pb2.RecordPredictionRequest, context: Context
    ) -> worker_pb2.RecordPredictionResponse:
        """submitting or unknown → submitted."""
        failpoint("jobs.prediction.received")
        rows = await self._apply(request.worker_id, request.predictions, reports.created)
        failpoint("jobs.prediction.committed")
        return worker_pb2.RecordPredictionResponse(results=_results(rows))

    async def RecordRefusal(self, request: worker_pb2.RecordRefusalRequest, context: Context) -> worker_pb2.RecordRefusalResponse:
        """submitting or unknown → queued, or failed."""
        failpoint("jobs.refusal.received")
        rows = await self._apply(request.worker_id, request.refusals, reports.refusal)
        failpoint("jobs.refusal.committed")
        return worker_pb2.RecordRefusalResponse(results=_results(rows))

    async def RecordUnknown(self, request: worker_pb2.RecordUnknownRequest, context: Context) -> worker_pb2.RecordUnknownResponse:
        """submitting → unknown."""
        failpoint("jobs.unknown.received")
        rows = await self._apply(request.worker_id, request.creates, reports.lost)
        failpoint("jobs.unknown.committed")
        return worker_pb2.RecordUnknownResponse(results=_results(rows))

    async def ReportLookup(self, request: worker_pb2.ReportLookupRequest, context: Context) -> worker_pb2.ReportLookupResponse:
        """unknown → submitted, queued or canceled, or stays."""
        failpoint("jobs.lookup.received")
        rows = await self._apply(request.worker_id, request.lookups, reports.lookup)
        failpoint("jobs.lookup.committed")
        results = [self._lookup_result(row, lookup.outcome) for row, lookup in zip(rows, request.lookups, strict=True)]
        return worker_pb2.ReportLookupResponse(results=results)

    def _lookup_result(self, row: asyncpg.Record, outcome: worker_pb2.LookupOutcome.ValueType) -> worker_pb2.LookupResult:
        result = worker_pb2.LookupResult(result=RESULTS[row["result"]], lookup_begun_at=row.get("lookup_begun_at") or 0)
        if row["result"] == "ok" and row["state"] == "submitted":
            result.prediction_id = row["prediction_id"]
        elif row["result"] in ("too_early", "taken"):
            settle, empty = row["settle_in"] or 0.0, row["first_empty_in"]
            # What is not there has to be looked for twice, with a gap between. What was found waits for its settle time alone.
            found = outcome == worker_pb2.LOOKUP_OUTCOME_FOUND and empty is None
            gap = 0.0 if found else self._timing.lookup_gap + (empty or 0.0)
            result.retry_after_seconds = max(settle, gap, 0.0) + min(LOOK_AGAIN_SECONDS, self._timing.sweep)
        return result

    async def Complete(self, request: worker_pb2.CompleteRequest, context: Context) -> worker_pb2.CompleteResponse:
        """submitted → succeeded."""
        failpoint("jobs.complete.received")
        rows = await self._apply(request.worker_id, request.completions, reports.completion)
        failpoint("jobs.complete.committed")
        return worker_pb2.CompleteResponse(results=_results(rows))

    async def Fail(self, request: worker_pb2.FailRequest, context: Context) -> worker_pb2.FailResponse:
        """submitted → queued, failed or canceled."""
        failpoint("jobs.fail.received")
        rows = await self._apply(request.worker_id, request.failures, reports.failure)
        failpoint("jobs.fail.committed")
        return worker_pb2.FailResponse(results=_results(rows))

    async def Release(self, request: worker_pb2.ReleaseRequest, context: Context) -> worker_pb2.ReleaseResponse:
        """Gives jobs back unharmed."""
        failpoint("jobs.release.received")
        rows = await self._apply(request.worker_id, request.jobs, reports.release)
        failpoint("jobs.release.committed")
        return worker_pb2.ReleaseResponse(results=_results(rows))

    async def WatchPredictions(
        self, request: worker_pb2.WatchPredictionsRequest, context: Context
    ) -> AsyncIterator[worker_pb2.WatchPredictionsResponse]:
        """Streams what webhooks say of the worker's predictions."""
        with self._inbox.watching(parse_uuid(request.worker_id, "worker_id")) as watch:
            yield worker_pb2.WatchPredictionsResponse()
            while True:
                await watch.changed.wait()
                if self._inbox.stopping:
                    raise unavailable("This instance of the service ends; watch again.")
                yield watch.take()

    async def _apply(
        self, worker_id: str, messages: Sequence[Message], report: Callable[[Message, UUID], Report]
    ) -> list[asyncpg.Record]:
        """Applies the messages of one call, together with those of others, and returns a row for each."""
        worker = parse_uuid(worker_id, "worker_id")
        if not 1 <= len(messages) <= MAX_BATCH:
            raise invalid_argument([FieldViolation("worker_id", f"reports come 1 to {MAX_BATCH} at a time, not {len(messages)}")])
        reported = [report(message, worker) for message in messages]
        began = time.time()
        rows: list[asyncpg.Record] = await self._reports.submit_all(reported)
        for one, row in zip(reported, rows, strict=True):
            metrics.report(one.verb, row["result"]).inc()
            if traceparent := row.get("traceparent"):
                tracing.record(f"{one.verb} job", traceparent, began, SpanKind.INTERNAL, attributes(one.job_id, row))
            if one.predict_seconds is not None and row.get("rule"):
                metrics.count_predict_seconds(row["model"], one.predict_seconds)
            log.info(
                "job.reported",
                **ids(one.job_id, row),
                epoch=one.epoch,
                verb=one.verb,
                result=row["result"],
                state=row["state"],
                error_code=one.code,
            )
        if any(row.get("to_dispatch") for row in rows):
            self._relay.wake()  # it may be due again at once
        if any(row["state"] == "unknown" for row in rows):
            self._inbox.wake()  # a webhook may have told what nobody was told
        return rows


def _results(rows: Sequence[asyncpg.Record]) -> list[worker_pb2.Result.ValueType]:
    return [RESULTS[row["result"]] for row in rows]
