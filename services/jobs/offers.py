"""Offers: slots that workers hold out to this instance, in which jobs begin with the very commit that accepts them.

It spares the way over RabbitMQ and a claim. Nothing needs it: where no slot is held out, jobs are rung for.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from prometheus_client import Gauge

from chassis.errors import FieldViolation, invalid_argument
from jobs.grants import MAX_GRANTS
from jobs.timing import Timing
from mediagen.jobs.v1.worker_pb2 import Grant

LAPSE = 1 / 2
"""After how long without a word a worker's slots are not used any more, as a share of the heartbeat's period."""

_offered = Gauge("mediagen_jobs_offered_slots", "Slots that workers hold out to this instance for new jobs.")


class Slot(NamedTuple):
    """One slot that was taken for a job which is being accepted."""

    offer: "Offer"
    intent_id: UUID
    heard_at: float
    """When it was offered, by the monotonic clock."""

    @property
    def worker(self) -> UUID:
        """Whose it is."""
        return self.offer.worker


class Offer:
    """What one worker holds out over one call."""

    def __init__(self, worker: UUID) -> None:
        """Nothing yet."""
        self.worker = worker
        self.changed = asyncio.Event()
        """Set whenever there are grants to send, or the end may have come."""
        self.lost = False
        """Whether it is unknown what became of some of its slots: the worker has to claim them."""
        self.heard_at = time.monotonic()
        self._closed = False
        self._slots: deque[Slot] = deque()
        self._used: set[UUID] = set()
        self._grants: list[Grant] = []

    def __len__(self) -> int:
        """Slots that are free."""
        return len(self._slots)

    @property
    def over(self) -> bool:
        """Whether all has been said that can be."""
        return not self._grants and (self.lost or (self._closed and not self._used))

    def hear(self, intent_ids: Iterable[UUID]) -> None:
        """The worker lives, and offers so many more slots. Raises INVALID_ARGUMENT where they are too many or come twice."""
        self.heard_at = time.monotonic()
        known = {slot.intent_id for slot in self._slots} | self._used
        for intent_id in intent_ids:
            if intent_id in known or len(known) >= MAX_GRANTS:  # a worker may have to claim them all
                violation = FieldViolation("intent_ids", f"must be different ones, and at most {MAX_GRANTS} at a time")
                raise invalid_argument([violation])
            known.add(intent_id)
            if not self._closed:
                self._slots.append(Slot(self, intent_id, self.heard_at))

    def take(self) -> Slot:
        """A slot for a commit that begins now."""
        slot = self._slots.popleft()
        self._used.add(slot.intent_id)
        return slot

    def granted(self, slot: Slot, grant: Grant) -> None:
        """The job of this slot is begun."""
        self._used.discard(slot.intent_id)
        self._grants.append(grant)
        self.changed.set()

    def unused(self, slot: Slot) -> None:
        """Nothing was begun in it."""
        self._used.discard(slot.intent_id)
        if not self._closed:
            self._slots.appendleft(slot)
        self.changed.set()

    def lose(self, slot: Slot) -> None:
        """It is unknown whether something was begun in it, unless that was said before."""
        if slot.intent_id in self._used:
            self.lost = True
            self.close()

    def close(self) -> None:
        """Takes no more slots of it. What is being committed is still granted."""
        self._closed = True
        self._slots.clear()
        self.changed.set()

    def take_grants(self) -> Sequence[Grant]:
        """What the worker was not told yet."""
        grants, self._grants = self._grants, []
        return grants


class Offers:
    """All that is held out to this instance."""

    def __init__(self, timing: Timing) -> None:
        """Nothing yet."""
        self._lapse = timing.heartbeat * LAPSE
        self._offers: deque[Offer] = deque()
        self._stopping = False
        _offered.set_function(lambda: sum(len(offer) for offer in self._offers if self._lives(offer)))

    @contextlib.contextmanager
    def held_out(self, worker: UUID) -> Iterator[Offer]:
        """The offer of one call, while the context lasts."""
        offer = Offer(worker)
        if self._stopping:
            offer.close()
        self._offers.append(offer)
        try:
            yield offer
        finally:
            offer.close()
            self._offers.remove(offer)

    @contextlib.contextmanager
    def take(self, jobs: int) -> Iterator[list[Slot]]:
        """Slots for so many jobs at most, of the workers by turns, for a commit within the context.

        Each has to become `granted` or `unused` in it. Where it ends with an exception, the others count as used.
        """
        slots = self._take(jobs)
        try:
            yield slots
        except BaseException:
            for slot in slots:
                slot.offer.lose(slot)
            raise

    def _take(self, jobs: int) -> list[Slot]:
        slots: list[Slot] = []
        passed = 0
        while len(slots) < jobs and passed < len(self._offers):
            offer = self._offers[0]
            self._offers.rotate(-1)
            if offer and self._lives(offer):
                slots.append(offer.take())
                passed = 0
            else:
                passed += 1
        return slots

    def _lives(self, offer: Offer) -> bool:
        return time.monotonic() - offer.heard_at < self._lapse

    def stop(self) -> None:
        """Ends every offer: an open call would hold the service's end up."""
        self._stopping = True
        for offer in self._offers:
            offer.close()
