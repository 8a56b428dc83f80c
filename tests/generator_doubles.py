"""Doubles of what a generator talks to, in this process: jobs behind real gRPC, and Replicate as an object."""

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import grpc

from chassis.channel import channel
from chassis.settings import HostPort
from generator.held import Held
from generator.jobs_client import JobsClient
from generator.leash import Leash
from generator.lookup import Lookups
from generator.outcomes import Created, CreateOutcome
from generator.outputs import Source
from generator.poller import Poller
from generator.reads import ReadBudget
from generator.replicate_api import NotFound, Page, Prediction
from generator.run_job import Tools
from mediagen.jobs.v1 import worker_pb2 as pb
from mediagen.jobs.v1.worker_pb2_grpc import WorkerServiceServicer, WorkerServiceStub, add_WorkerServiceServicer_to_server

TIMING = pb.Timing(
    lease_seconds=3,
    heartbeat_seconds=0.1,
    send_by_seconds=1,
    create_timeout_seconds=2,
    prediction_seconds=60,
    poll_seconds=0.05,
    silence_seconds=0.2,
    output_lifetime_seconds=600,
)


class Jobs(WorkerServiceServicer):
    """The jobs service as a script: it answers OK unless a test says otherwise, and remembers what it was told."""

    def __init__(self) -> None:
        self.due: list[pb.Grant] = []
        self.claims: list[pb.ClaimRequest] = []
        self.asked: list[pb.ClaimRequest] = []
        """The claims, with those that failed."""
        self.heartbeats: list[pb.HeartbeatRequest] = []
        self.calls: list[tuple[str, Any, Mapping[str, str]]] = []
        self.answers: dict[str, Any] = {}
        """The result of a verb, or a function of the entry that returns it."""
        self.failing: dict[str, list[grpc.StatusCode]] = {}
        """The codes that the next calls of a verb fail with."""
        self.news: asyncio.Queue[pb.WatchPredictionsResponse | grpc.StatusCode] = asyncio.Queue()
        """What the next watch is told, or the code that it ends with."""
        self.watches = 0
        self.words: list[pb.OfferRequest] = []
        """What offers said."""
        self.granting: asyncio.Queue[pb.OfferResponse | grpc.StatusCode | None] = asyncio.Queue()
        """What the next offer is granted, or the code that it ends with; None where it ended its words."""
        self.hold_claims: asyncio.Event | None = None
        """What claims wait for."""
        self.offers = 0
        self.offers_ended = 0
        """Those that the worker ended."""
        self.lost: set[str] = set()
        self.cancel: set[str] = set()
        self.timing = TIMING
        """What the answers to heartbeats say."""

    def entries(self, verb: str) -> list[Any]:
        """Every entry that was reported by that verb, in order."""
        return [entry for name, entries, _ in self.calls if name == verb for entry in entries]

    async def Claim(self, request: pb.ClaimRequest, context: Any) -> pb.ClaimResponse:
        self.asked.append(request)
        if self.hold_claims is not None:
            await self.hold_claims.wait()
        await self._maybe_fail("Claim", context)
        self.claims.append(request)
        named = [
            grant
            for grant in self.due
            if (not request.job_ids or grant.job_id in request.job_ids)
            and not (request.no_creates and grant.mode == pb.MODE_CREATE)
        ][: request.slots]
        self.due = [grant for grant in self.due if grant not in named]
        return pb.ClaimResponse(grants=named)

    async def Offer(self, requests: AsyncIterator[pb.OfferRequest], context: Any) -> AsyncIterator[pb.OfferResponse]:
        await self._maybe_fail("Offer", context)
        await context.send_initial_metadata(())
        self.offers += 1

        async def hear() -> None:
            async for request in requests:
                self.words.append(request)
            self.offers_ended += 1
            self.granting.put_nowait(None)

        hearing = asyncio.create_task(hear())
        try:
            while isinstance(news := await self.granting.get(), pb.OfferResponse):
                yield news
        finally:
            hearing.cancel()
        if news is not None:
            await context.abort(news, "as the test wants it")

    async def Heartbeat(self, request: pb.HeartbeatRequest, context: Any) -> pb.HeartbeatResponse:
        await self._maybe_fail("Heartbeat", context)
        self.heartbeats.append(request)
        held = {job.job_id for job in request.held}
        return pb.HeartbeatResponse(
            lost_job_ids=self.lost & held, cancel_job_ids=self.cancel & held, read_allowance=1000, timing=self.timing
        )

    async def RecordIntent(self, request: pb.RecordIntentRequest, context: Any) -> pb.RecordIntentResponse:
        results = await self._note("RecordIntent", request.intents, context)
        granted = {"cancel_after_seconds": 60, "webhook_token": "a-token"}
        return pb.RecordIntentResponse(results=[pb.IntentResult(result=result, **granted) for result in results])

    async def RecordPrediction(self, request: pb.RecordPredictionRequest, context: Any) -> pb.RecordPredictionResponse:
        return pb.RecordPredictionResponse(results=await self._note("RecordPrediction", request.predictions, context))

    async def RecordRefusal(self, request: pb.RecordRefusalRequest, context: Any) -> pb.RecordRefusalResponse:
        return pb.RecordRefusalResponse(results=await self._note("RecordRefusal", request.refusals, context))

    async def RecordUnknown(self, request: pb.RecordUnknownRequest, context: Any) -> pb.RecordUnknownResponse:
        return pb.RecordUnknownResponse(results=await self._note("RecordUnknown", request.creates, context))

    async def ReportLookup(self, request: pb.ReportLookupRequest, context: Any) -> pb.ReportLookupResponse:
        return pb.ReportLookupResponse(results=await self._note("ReportLookup", request.lookups, context))

    async def Complete(self, request: pb.CompleteRequest, context: Any) -> pb.CompleteResponse:
        return pb.CompleteResponse(results=await self._note("Complete", request.completions, context))

    async def Fail(self, request: pb.FailRequest, context: Any) -> pb.FailResponse:
        return pb.FailResponse(results=await self._note("Fail", request.failures, context))

    async def Release(self, request: pb.ReleaseRequest, context: Any) -> pb.ReleaseResponse:
        return pb.ReleaseResponse(results=await self._note("Release", request.jobs, context))

    async def WatchPredictions(
        self, request: pb.WatchPredictionsRequest, context: Any
    ) -> AsyncIterator[pb.WatchPredictionsResponse]:
        await self._maybe_fail("WatchPredictions", context)
        self.watches += 1
        yield pb.WatchPredictionsResponse()
        while isinstance(news := await self.news.get(), pb.WatchPredictionsResponse):
            yield news
        await context.abort(news, "as the test wants it")

    async def _note(self, verb: str, entries: Sequence[Any], context: Any) -> list[Any]:
        await self._maybe_fail(verb, context)
        self.calls.append((verb, list(entries), dict(context.invocation_metadata())))
        answer = self.answers.get(verb, pb.RESULT_OK)
        return [answer(entry) if callable(answer) else answer for entry in entries]

    async def _maybe_fail(self, verb: str, context: Any) -> None:
        if self.failing.get(verb):
            await context.abort(self.failing[verb].pop(0), "as the test wants it")


class Replicate:
    """Replicate as a script: predictions succeed when a test says so."""

    def __init__(self) -> None:
        self.predictions: dict[str, Prediction] = {}
        self.posts: list[tuple[str, str]] = []
        self.webhooks: list[str | None] = []
        self.canceled: list[str] = []
        self.gets: list[str] = []
        self.pages = 0
        self.answer: Callable[[], Any] | None = None
        """Awaited in place of a create, where a test sets it."""
        self.hidden: set[str] = set()
        """Predictions that the list does not show."""

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)

    def make(self, prediction_id: str, **fields: Any) -> Prediction:
        """A prediction that is under way."""
        created = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
        made = {"id": prediction_id, "status": "processing", "model": "owner/name", "input": {"prompt": "p"}, "created_at": created}
        self.predictions[prediction_id] = {**made, "output": None, "logs": "", **fields}
        return self.predictions[prediction_id]

    def succeed(self, prediction_id: str, output: Any = "words") -> None:
        self.predictions[prediction_id].update(status="succeeded", output=output)

    async def create(
        self, model: str, input_json: str, cancel_after: float, timeout: float, webhook: str | None = None
    ) -> CreateOutcome:
        self.posts.append((model, input_json))
        self.webhooks.append(webhook)
        if self.answer is not None:
            outcome: CreateOutcome = await self.answer()
            return outcome
        return Created(self.make(f"prediction-{len(self.posts)}"))

    async def get(self, prediction_id: str) -> Prediction:
        self.gets.append(prediction_id)
        if prediction_id not in self.predictions:
            raise NotFound(prediction_id)
        return dict(self.predictions[prediction_id])

    async def cancel(self, prediction_id: str) -> None:
        self.canceled.append(prediction_id)
        if self.predictions.get(prediction_id, {}).get("status") == "processing":
            self.predictions[prediction_id]["status"] = "canceled"

    async def page(self, *, created_before: str | None = None, cursor: str | None = None) -> Page:
        self.pages += 1
        shown = [dict(one) for key, one in self.predictions.items() if key not in self.hidden]
        shown = sorted(shown, key=lambda one: str(one["created_at"]), reverse=True)
        if created_before:
            shown = [one for one in shown if str(one["created_at"]).replace("+00:00", "Z") < created_before]
        first = int(cursor or 0)
        return Page(shown[first : first + 100], str(first + 100) if len(shown) > first + 100 else None, None)

    async def account_answers(self) -> bool:
        return True


class Storing:
    """A bucket that takes everything."""

    def __init__(self) -> None:
        self.wait = asyncio.Event()
        self.wait.set()

    async def store(self, sources: Sequence[Source], prefix: str, expires_at: float) -> list[pb.StoredOutput]:
        await self.wait.wait()
        return [pb.StoredOutput(index=index, content_type="text/plain", value='"words"') for index in range(len(sources))]


@contextlib.asynccontextmanager
async def serving_jobs(jobs: Jobs) -> AsyncIterator[JobsClient]:
    """A client of `jobs` over real gRPC."""
    server = grpc.aio.server()
    add_WorkerServiceServicer_to_server(jobs, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with channel(HostPort("127.0.0.1", port)) as connection:
        yield JobsClient(WorkerServiceStub(connection), "token", "3b1e2d0e-6f5c-4a52-9a33-1a2b3c4d5e6f")
    await server.stop(0)


class Bench:
    """Everything that a job works with, on doubles."""

    def __init__(self, jobs: Jobs, client: JobsClient) -> None:
        self.jobs = jobs
        self.client = client
        self.replicate: Any = Replicate()
        self.storing: Any = Storing()
        self.bucket: Any = UsableBucket()
        self.leash = Leash()
        self.budget = ReadBudget()
        self.poller = Poller(self.replicate, self.budget)
        lookups = Lookups(self.replicate, self.budget)
        self.tools = Tools(client, self.replicate, self.leash, self.poller, self.budget, lookups, self.storing, self.bucket)

    def heard(self, ago: float = 0.0) -> None:
        """A heartbeat was answered."""
        self.leash.heard(asyncio.get_running_loop().time() - ago, TIMING)
        self.budget.grant(1000, 60)


class UsableBucket:
    """As much of a Bucket as a worker looks at."""

    def __init__(self) -> None:
        self.usable = asyncio.Event()
        self.usable.set()


@contextlib.asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """A bench whose poller runs."""
    jobs = Jobs()
    async with serving_jobs(jobs) as client:
        made = Bench(jobs, client)
        made.heard()
        polling = asyncio.create_task(made.poller.run(made.leash))
        yield made
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)


def grant(mode: pb.Mode.ValueType = pb.MODE_CREATE, **fields: Any) -> pb.Grant:
    """A grant of one job."""
    return pb.Grant(**{"job_id": "job-1", "epoch": 1, "mode": mode, "model": "owner/name", "input": '{"prompt":"p"}', **fields})


def held(mode: pb.Mode.ValueType = pb.MODE_CREATE, **fields: Any) -> Held:
    """A job that was just granted."""
    return Held(grant(mode, **fields))
