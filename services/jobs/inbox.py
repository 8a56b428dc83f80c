"""The inbox: what webhooks of Replicate's said is stored first, then acted on at once. It makes things faster; nothing needs it.

Nothing is decided by what a webhook says. Of a prediction's end the worker that follows it is told, and of what a create of unknown
outcome is said to have made, any worker; they read it at Replicate, and report as always. Every instance reads the table, so that
it does not matter which of them a webhook came to, and which of them a worker watches.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from uuid import UUID

import asyncpg
import grpc
import structlog
from prometheus_client import Counter

from chassis.batching import PACE_SECONDS, Batcher
from chassis.errors import AppError
from jobs import access
from jobs.database import Database
from jobs.relay import Relay
from jobs.timing import Timing
from mediagen.jobs.v1.worker_pb2 import ClaimedCreation, WatchPredictionsResponse

log = structlog.get_logger()

WATCHED_SECONDS = 0.25
"""How often the table is read while workers watch; without them, as often as leases are looked at."""

NOTES_OF_AN_INTENT = 16
"""How many webhooks of one create are noted. Replicate sends two for a prediction; who knows a URL, and calls this service himself,
would otherwise decide how often Replicate is asked."""

_webhooks = Counter("mediagen_jobs_webhooks_total", "Webhooks that were acted on, by what they led to.", ["effect"])
for _effect in ("created", "ended", "due", "elsewhere", "none"):
    _webhooks.labels(_effect)


@dataclass(frozen=True)
class Note:
    """What one webhook said."""

    webhook_id: str
    """The sender's id of the message."""
    intent_id: UUID
    """Whose create carried the URL that it came to."""
    prediction_id: str
    ended: bool
    """Whether it said that the prediction has ended."""


class Watch:
    """What one worker is to be told."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.changed = asyncio.Event()
        self.ended: set[str] = set()
        self.creations: list[ClaimedCreation] = []

    def take(self) -> WatchPredictionsResponse:
        """All that it was not told yet."""
        news = WatchPredictionsResponse(ended_prediction_ids=self.ended, creations=self.creations)
        self.ended.clear()
        self.creations.clear()
        self.changed.clear()
        return news


class Inbox:
    """Keeps what webhooks said, and acts on it."""

    def __init__(self, database: Database, relay: Relay, timing: Timing) -> None:
        """Nothing is read before `run`."""
        self._database = database
        self._relay = relay
        self._interval = timing.sweep
        # What polling has surely seen twice by then need not be told any more.
        self._late = 2 * timing.poll
        sql = resources.files("jobs").joinpath("sql")
        self._note, self._news = (sql.joinpath(name).read_text() for name in ("note.sql", "inbox.sql"))
        self._notes: Batcher[tuple[Note, str], None] = Batcher(self._store, pace=PACE_SECONDS)
        self._watches: dict[UUID, set[Watch]] = {}
        self._woken = asyncio.Event()
        self.stopping = False

    async def note(self, note: Note, token: str) -> None:
        """Stores a note, once, unless enough was said of its intent, or it says what is known. Notes that come together are stored
        together.

        Raises PERMISSION_DENIED where the token is not the intent's own, or there is no such intent.
        """
        await self._notes.submit((note, token))

    async def _store(self, told: list[tuple[Note, str]]) -> Sequence[AppError | None]:
        rows = await self._database.fetch(
            "SELECT s.intent_id, s.prediction_id, t.signing_secret FROM unnest((SELECT $1::uuid[])) AS i (id) "  # see statements.py
            "JOIN submissions s ON s.intent_id = i.id JOIN jobs j ON j.id = s.job_id JOIN tenants t ON t.id = j.tenant_id",
            [note.intent_id for note, _ in told],
        )
        known = {row["intent_id"]: row for row in rows}
        outcomes = [None if _is_believed(note, token, known.get(note.intent_id)) else _withdrawn() for note, token in told]
        believed = [note for (note, _), outcome in zip(told, outcomes, strict=True) if outcome is None]
        # That a prediction has begun matters only to a job that does not know it.
        news = [note for note in believed if note.ended or note.prediction_id != known[note.intent_id]["prediction_id"]]
        if news:
            columns = zip(*((note.webhook_id, note.intent_id, note.prediction_id, note.ended) for note in news), strict=True)
            await self._database.fetch(self._note, *map(list, columns), NOTES_OF_AN_INTENT)
            self.wake()
        _webhooks.labels("none").inc(len(believed) - len(news))
        return outcomes

    @contextlib.contextmanager
    def watching(self, worker: UUID) -> Iterator[Watch]:
        """What the worker is to be told, while the context lasts."""
        watch = Watch()
        self._watches.setdefault(worker, set()).add(watch)
        self.wake()
        try:
            yield watch
        finally:
            watches = self._watches[worker]
            watches.discard(watch)
            if not watches:
                del self._watches[worker]

    def stop(self) -> None:
        """Wakes every watch to see that the service ends: an open one would hold its end up."""
        self.stopping = True
        for watches in self._watches.values():
            for watch in watches:
                watch.changed.set()

    def wake(self) -> None:
        """There may be something to act on."""
        self._woken.set()

    async def run(self) -> None:
        """Acts for ever; while the database is away it only waits."""
        while True:
            interval = min(WATCHED_SECONDS, self._interval) if self._watches else self._interval
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval):
                    await self._woken.wait()
            self._woken.clear()
            try:
                await self._act()
            except AppError as error:
                log.warning("inbox.waiting", error=error.message)

    async def _act(self) -> None:
        """Acts on what waits."""
        rows = await self._database.fetch(self._news, list(self._watches), self._late)
        if not rows:
            return
        for row in rows:
            _webhooks.labels(row["effect"]).inc()
            if row["effect"] == "ended":
                for watch in self._watches.get(row["lease_worker"], ()):
                    watch.ended.add(row["prediction_id"])
                    watch.changed.set()
            elif row["effect"] == "created":
                self._ask(row)
        await self._make_due([row["job_id"] for row in rows if row["effect"] == "due"])
        await self._database.fetch(
            "UPDATE provider_inbox i SET processed_at = now() FROM (SELECT webhook_id FROM provider_inbox "
            "WHERE webhook_id = ANY((SELECT $1::text[])::text[]) AND processed_at IS NULL ORDER BY webhook_id FOR UPDATE) w "
            "WHERE i.webhook_id = w.webhook_id",
            [row["webhook_id"] for row in rows],
        )

    def _ask(self, row: asyncpg.Record) -> None:
        """Has one of the workers see whether the create has made that prediction: any of them can, whoever holds the job."""
        watch = next(itertools.chain.from_iterable(self._watches.values()), None)
        if watch is not None:
            fields = {name: row[name] or "" for name in ("prediction_id", "model", "input", "request_id")}
            watch.creations.append(ClaimedCreation(job_id=str(row["job_id"]), intent_id=str(row["intent_id"]), **fields))
            watch.changed.set()

    async def _make_due(self, jobs: Sequence[UUID]) -> None:
        """Lets predictions that have ended, and that nobody follows, be followed at once."""
        if jobs:
            await self._database.fetch(
                "UPDATE jobs j SET next_dispatch_at = now(), rings = 0 FROM (SELECT id FROM jobs WHERE id = ANY($1::uuid[]) "
                "AND state = 'submitted' AND lease_worker IS NULL AND next_dispatch_at > now() ORDER BY id FOR UPDATE) d "
                "WHERE j.id = d.id",
                jobs,
            )
            self._relay.wake()


def _is_believed(note: Note, token: str, intent: asyncpg.Record | None) -> bool:
    return intent is not None and access.verify_webhook(token, intent["signing_secret"], str(note.intent_id))


def _withdrawn() -> AppError:
    message = "This webhook's URL is none that was given out, or was withdrawn."
    return AppError(grpc.StatusCode.PERMISSION_DENIED, "WEBHOOK_TOKEN_INVALID", message)
