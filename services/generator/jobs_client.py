"""What this generator says to jobs: claims, heartbeats, and reports that are repeated until they are answered."""

import math
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import grpc
import stamina
import structlog

from chassis import tracing
from chassis.batching import Batcher
from chassis.channel import REQUEST_ID, TRACEPARENT
from mediagen.jobs.v1 import worker_pb2 as pb

if TYPE_CHECKING:
    from mediagen.jobs.v1.worker_pb2_grpc import WorkerServiceAsyncStub  # a class of the stubs' alone

log = structlog.get_logger()

REPORT_SECONDS = 10.0
"""How long one report may take before it is sent again."""

BROKEN_TRIES = 5
"""After so many answers that something went wrong in jobs itself, the entries of a message are no longer sent together."""

Entry = TypeVar("Entry")
Answer = TypeVar("Answer")
Reply = TypeVar("Reply")
Metadata = tuple[tuple[str, str], ...]

_OURS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.FAILED_PRECONDITION,
}
"""Codes that say the request itself is wrong: repeating it would change nothing."""


_BROKEN = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
"""Codes that say that jobs itself failed: another time it may not, or it stumbles over this very message."""


class _Alone(Exception):
    """Jobs stumbles over the message that the entry was in."""


class _Origin(NamedTuple):
    """Which request a report is about, for the other side's log lines and traces."""

    request_id: str
    traceparent: str


def may_succeed_later(error: Exception) -> bool:
    """Whether the same call may be answered another time: every report is idempotent, so all but our own mistakes are repeated."""
    return isinstance(error, grpc.aio.AioRpcError) and error.code() not in _OURS


class JobsClient:
    """The WorkerService, called as one worker. Every call has a timeout; entries of concurrent jobs share a message."""

    def __init__(self, stub: "WorkerServiceAsyncStub", token: str, worker_id: str) -> None:
        """`worker_id` is this incarnation's UUID."""
        self._stub = stub
        self._authorization = ("authorization", f"Bearer {token}")
        self.worker_id = worker_id
        me = worker_id

        async def intents(entries: list[pb.Intent], origin: Metadata) -> Sequence[pb.IntentResult]:
            request = pb.RecordIntentRequest(worker_id=me, intents=entries)
            return (await stub.RecordIntent(request, timeout=REPORT_SECONDS, metadata=origin)).results

        async def predictions(entries: list[pb.CreatedPrediction], origin: Metadata) -> Sequence[pb.Result.ValueType]:
            request = pb.RecordPredictionRequest(worker_id=me, predictions=entries)
            return (await stub.RecordPrediction(request, timeout=REPORT_SECONDS, metadata=origin)).results

        async def refusals(entries: list[pb.Refusal], origin: Metadata) -> Sequence[pb.Result.ValueType]:
            request = pb.RecordRefusalRequest(worker_id=me, refusals=entries)
            return (await stub.RecordRefusal(request, timeout=REPORT_SECONDS, metadata=origin)).results

        async def unknowns(entries: list[pb.UnknownCreate], origin: Metadata) -> Sequence[pb.Result.ValueType]:
            request = pb.RecordUnknownRequest(worker_id=me, creates=entries)
            return (await stub.RecordUnknown(request, timeout=REPORT_SECONDS, metadata=origin)).results

        async def lookups(entries: list[pb.Lookup], origin: Metadata) -> Sequence[pb.LookupResult]:
            request = pb.ReportLookupRequest(worker_id=me, lookups=entries)
            return (await stub.ReportLookup(request, timeout=REPORT_SECONDS, metadata=origin)).results

        async def completions(entries: list[pb.Completion], origin: Metadata) -> Sequence[pb.Result.ValueType]:
            request = pb.CompleteRequest(worker_id=me, completions=entries)
            return (await stub.Complete(request, timeout=REPORT_SECONDS, metadata=origin)).results

        async def failures(entries: list[pb.Failure], origin: Metadata) -> Sequence[pb.Result.ValueType]:
            request = pb.FailRequest(worker_id=me, failures=entries)
            return (await stub.Fail(request, timeout=REPORT_SECONDS, metadata=origin)).results

        async def releases(entries: list[pb.Released], origin: Metadata) -> Sequence[pb.Result.ValueType]:
            request = pb.ReleaseRequest(worker_id=me, jobs=entries)
            return (await stub.Release(request, timeout=REPORT_SECONDS, metadata=origin)).results

        self.record_intent = self._report("RecordIntent", intents)
        """Asks to authorise one POST."""
        self.record_prediction = self._report("RecordPrediction", predictions)
        """Binds the id that a create was answered with."""
        self.record_refusal = self._report("RecordRefusal", refusals)
        """Tells that nothing was created."""
        self.record_unknown = self._report("RecordUnknown", unknowns)
        """Tells that something may have been created."""
        self.report_lookup = self._report("ReportLookup", lookups)
        """Tells what the list showed of a lost create."""
        self.complete = self._report("Complete", completions)
        """Tells that every output is stored."""
        self.fail = self._report("Fail", failures)
        """Tells that the prediction, or the storing of its outputs, came to nothing."""
        self.release = self._report("Release", releases)
        """Gives a job back unharmed."""

    async def claim(
        self, job_ids: Sequence[str], slots: int, intent_ids: Sequence[str], *, no_creates: bool, timeout: float
    ) -> Sequence[pb.Grant]:
        """One try at a claim: of these jobs, with these intents for their creates, or of whatever is due. Raises AioRpcError."""
        request = pb.ClaimRequest(
            worker_id=self.worker_id, job_ids=job_ids, slots=slots, no_creates=no_creates, intent_ids=intent_ids
        )
        return (await self._stub.Claim(request, timeout=timeout, metadata=self._metadata([]))).grants

    def offer(self, timeout: float) -> "grpc.aio.StreamStreamCall[pb.OfferRequest, pb.OfferResponse]":
        """An offer of slots, which lasts for at most `timeout` seconds."""
        return self._stub.Offer(timeout=timeout, metadata=self._metadata([]))

    async def heartbeat(self, request: pb.HeartbeatRequest, timeout: float) -> pb.HeartbeatResponse:
        """One try at a heartbeat. Raises AioRpcError."""
        return await self._stub.Heartbeat(request, timeout=timeout, metadata=self._metadata([]))

    async def watch_predictions(self, timeout: float) -> AsyncIterator[pb.WatchPredictionsResponse]:
        """What webhooks say of this worker's predictions, for at most `timeout` seconds. Raises AioRpcError."""
        request = pb.WatchPredictionsRequest(worker_id=self.worker_id)
        async for response in self._stub.WatchPredictions(request, timeout=timeout, metadata=self._metadata([])):
            yield response

    def _report(
        self, name: str, call: Callable[[list[Entry], Metadata], Awaitable[Sequence[Answer]]]
    ) -> Callable[[Entry], Awaitable[Answer]]:
        """A function that reports one entry, together with those that wait beside it, and returns what became of it.

        It is repeated until it is answered or the process ends. Where jobs finds a message wrong, its entries are sent one by one,
        so that a single bad one harms no other; that one raises AioRpcError. Where jobs stumbles over a message again and again,
        its entries go on one by one, too: the one that it stumbles over holds up nobody else.
        """

        async def send(entries: list[Entry], origins: list[_Origin], broken_tries: float = math.inf) -> Sequence[Answer]:
            broken = 0

            def again(error: Exception) -> bool:
                nonlocal broken
                broken += isinstance(error, grpc.aio.AioRpcError) and error.code() in _BROKEN
                return broken < broken_tries and may_succeed_later(error)

            async for attempt in stamina.retry_context(on=again, attempts=None, timeout=None, wait_max=5.0, wait_jitter=0.3):
                with attempt:
                    answers = await call(entries, self._metadata(origins))
                    if len(answers) != len(entries):
                        raise RuntimeError(f"{name} answered {len(entries)} entries with {len(answers)} results")
                    return answers
            raise AssertionError("the retries have no end")

        async def flush(batch: list[tuple[Entry, _Origin]]) -> Sequence[Answer | Exception]:
            structlog.contextvars.clear_contextvars()  # the ids in the context are those of whoever came first
            try:
                return await send([entry for entry, _ in batch], [origin for _, origin in batch], BROKEN_TRIES)
            except grpc.aio.AioRpcError as error:
                if error.code() in _BROKEN:
                    log.error("report.alone", verb=name, entries=len(batch), details=error.details())
                    return [_Alone()] * len(batch)
                log.error("report.refused", verb=name, entries=len(batch), code=error.code().name, details=error.details())
                if len(batch) == 1:
                    return [error]
            results: list[Answer | Exception] = []
            for single in batch:
                results.extend(await flush([single]))
            return results

        batcher = Batcher(flush)

        async def report(entry: Entry) -> Answer:
            request_id = structlog.contextvars.get_contextvars().get("request_id", "")
            origin = _Origin(request_id, tracing.traceparent())
            try:
                return await batcher.submit((entry, origin))
            except _Alone:
                return (await send([entry], [origin]))[0]

        return report

    def _metadata(self, origins: Sequence[_Origin]) -> Metadata:
        """A message about one request carries that request's ids; one about several has an id of its own."""
        distinct = set(origins)
        origin = distinct.pop() if len(distinct) == 1 else _Origin("", "")
        request_id = origin.request_id or str(uuid.uuid4())
        metadata: Metadata = (self._authorization, (REQUEST_ID, request_id))
        return (*metadata, (TRACEPARENT, origin.traceparent)) if origin.traceparent else metadata
