"""Looking a lost create up: reading Replicate's list over the time in which the prediction must have been made, if it was.

Look-ups that wait at the same time share one walk through the list. A prediction matches where its model and its whole input are
those of the job, compared as JSON values. Keys that Replicate shows beyond ours are tolerated only where they are null: a
prediction with more inputs than ours was made for another job, and binding it would hand out a stranger's picture. Where Replicate
shows the webhook that a create carried, the intent in its URL decides instead: it is this create's own, or another's.
"""

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from chassis.batching import Batcher
from generator.moments import moment
from generator.reads import ReadBudget
from generator.replicate_api import Prediction, ReadFailed, ReplicateApi
from generator.webhooks import intent_of
from mediagen.jobs.v1.worker_pb2 import LOOKUP_OUTCOME_EMPTY, LOOKUP_OUTCOME_FOUND, LOOKUP_OUTCOME_UNREADABLE, LookupOutcome

log = structlog.get_logger()

WIDER_SECONDS = 60.0
"""How much before the intent the window begins: clocks differ."""

MAX_PAGES = 200
"""A walk that takes more pages than this has failed: 20,000 predictions."""


@dataclass(frozen=True)
class LostCreate:
    """A create whose answer nobody has."""

    intent_id: str
    """The intent that authorised it."""
    model: str
    """As it was sent."""
    input_json: str
    """As it was sent."""
    intent_age_seconds: float
    """How long ago it may have been sent first."""


@dataclass(frozen=True)
class Sighting:
    """What the list showed of one of them."""

    outcome: LookupOutcome.ValueType
    """Found, empty or unreadable."""
    prediction_ids: tuple[str, ...] = ()
    """Every prediction that matches, oldest first."""
    marked: bool = False
    """Whether they match by the intent in their webhook's URL, which makes them this create's own beyond doubt."""


class Lookups:
    """The look-ups of this generator."""

    def __init__(self, api: ReplicateApi, budget: ReadBudget) -> None:
        """`budget` is shared with the poller."""
        self._api = api
        self._budget = budget
        self._batcher = Batcher(self._walk)

    async def look(self, lost: LostCreate) -> Sighting:
        """Looks through the list once, from a moment after this call on."""
        return await self._batcher.submit(lost)

    async def _walk(self, lost: list[LostCreate]) -> Sequence[Sighting]:
        structlog.contextvars.clear_contextvars()
        try:
            seen, server_now = await self._read_window(max(one.intent_age_seconds for one in lost) + WIDER_SECONDS)
        except ReadFailed as error:
            log.warning("lookup.unreadable", error=str(error), lookups=len(lost))
            return [Sighting(LOOKUP_OUTCOME_UNREADABLE)] * len(lost)
        return [matching(one, seen, server_now) for one in lost]

    async def _read_window(self, seconds: float) -> tuple[list[Prediction], datetime.datetime]:
        """Every prediction of the last `seconds` and the time that Replicate had then; raises ReadFailed unless all were read."""
        seen: list[Prediction] = []
        server_now: datetime.datetime | None = None
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            if not self._budget.take():
                raise ReadFailed("the budget of reads is spent")
            page = await self._api.page(cursor=cursor)
            if server_now is None:
                server_now = page.date or self._api.now()
            seen.extend(page.results)
            oldest = moment(page.results[-1].get("created_at")) if page.results else None
            if page.cursor is None or (oldest is not None and oldest < server_now - datetime.timedelta(seconds=seconds)):
                return seen, server_now
            cursor = page.cursor
        raise ReadFailed(f"the window is longer than {MAX_PAGES} pages")


def matching(lost: LostCreate, seen: Sequence[Prediction], server_now: datetime.datetime) -> Sighting:
    """Those of the predictions seen that may be the lost create's own, or an identical twin's; jobs decides which is whose."""
    intents = [intent_of(item) for item in seen]
    if marked := [item["id"] for item, intent in zip(seen, intents, strict=True) if intent == lost.intent_id]:
        return Sighting(LOOKUP_OUTCOME_FOUND, tuple(reversed(marked)), marked=True)
    ours = orjson.loads(lost.input_json)
    begins = server_now - datetime.timedelta(seconds=lost.intent_age_seconds + WIDER_SECONDS)
    found: dict[str, datetime.datetime] = {}
    unclear = False
    for item, intent in zip(seen, intents, strict=True):
        if intent is not None:
            continue
        created = moment(item.get("created_at"))
        if (created is not None and created < begins) or not same_model(lost.model, item):
            continue
        if created is not None and same_input(ours, item.get("input")):
            found[item["id"]] = created
            continue
        # One whose input Replicate has erased by now or filled up with defaults, or whose time cannot be read, might have been it.
        unclear = unclear or created is None or bool(item.get("data_removed")) or covers(item.get("input"), ours)
    if found:
        return Sighting(LOOKUP_OUTCOME_FOUND, tuple(sorted(found, key=found.__getitem__)))
    return Sighting(LOOKUP_OUTCOME_UNREADABLE if unclear else LOOKUP_OUTCOME_EMPTY)


def covers(theirs: Any, ours: Any) -> bool:
    """Whether an input says all that ours does, and perhaps more; and where it is no object, nobody can say that it does not."""
    if not isinstance(theirs, dict):
        return True
    return all(same_input(value, theirs.get(key)) for key, value in ours.items())


_VERSION = re.compile(r"[0-9a-f]{64}")


def same_model(model: str, item: Prediction) -> bool:
    """Whether a prediction is of the model that was sent: by its name, by its version, or by both where both were given."""
    sent = model.lower()  # Replicate names a model as its owner writes it, however it was asked for
    if _VERSION.fullmatch(sent):
        return _lower(item.get("version")) == sent
    name, _, version = sent.partition(":")
    return _lower(item.get("model")) == name and (not version or _lower(item.get("version")) == version)


def _lower(value: Any) -> str | None:
    return value.lower() if isinstance(value, str) else None


def same_input(ours: Any, theirs: Any) -> bool:
    """Whether two inputs are equal as JSON. Numbers are compared by value, true is not 1, and null is as good as absent."""
    match ours, theirs:
        case dict(), dict():
            extra = theirs.keys() - ours.keys()
            return all(theirs[key] is None for key in extra) and all(
                same_input(value, theirs.get(key)) for key, value in ours.items()
            )
        case list(), list():
            return len(ours) == len(theirs) and all(same_input(a, b) for a, b in zip(ours, theirs, strict=True))
        case (bool(), _) | (_, bool()):
            return ours is theirs
    return bool(ours == theirs)
