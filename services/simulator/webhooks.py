"""Sending webhooks: one task wakes at the next moment of any prediction that has one; nothing runs for the others."""

import asyncio
import contextlib
import heapq
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from simulator.encoding import encoded
from simulator.faults import Faults
from simulator.prediction import Prediction, new_id, stamp
from simulator.predictions import Predictions
from simulator.settings import Settings
from simulator.webhook_events import Course, News
from simulator.webhook_faults import handle, spoil
from simulator.webhook_message import Message, post

ANSWER_SECONDS = 5
"""How long a receiver may take to answer. Replicate wants an answer within a few seconds."""

SENDING_AT_ONCE = 64
"""Requests under way at the same time, to all receivers."""


@dataclass(slots=True, eq=False)
class _Receiver:
    """A prediction's webhook. It gets one request at a time, so that what is told in order arrives in order."""

    prediction: Prediction
    course: Course
    outbox: list[tuple[float, int, Message]] = field(default_factory=list)
    """A heap of messages and the moments at which they are due."""
    held: list[tuple[float, Message]] = field(default_factory=list)
    """What is kept back until the end was told, by a fault."""
    planned: int | None = None
    """The number of its entry in the heap of all moments; other entries of it are void."""

    def next_moment(self) -> float:
        """When there is something to do for it; infinity where all is done."""
        return min(self.course.next_moment(), self.outbox[0][0]) if self.outbox else self.course.next_moment()


class Webhooks:
    """The webhooks of all predictions that have one and are not over."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is to be sent yet, and nothing is before `run`."""
        self._settings = settings
        self._wake = asyncio.Event()
        self._numbers = itertools.count()
        self._sending = asyncio.Semaphore(SENDING_AT_ONCE)

    def reset(self, faults: Faults, predictions: Predictions) -> None:
        """Begins with this account's; what was to be sent is dropped, what is under way ends, and nothing follows it."""
        self._faults, self._predictions = faults, predictions
        self.sent: Counter[str] = Counter({"sent": 0, "acknowledged": 0})
        self._receivers: dict[str, _Receiver] = {}
        self._moments: list[tuple[float, int, _Receiver]] = []

    @property
    def waiting(self) -> int:
        """How many webhooks there is still something to tell."""
        return len(self._receivers)

    def follow(self, prediction: Prediction) -> None:
        """From now on tells the webhook of the prediction, if it has one, what becomes of it."""
        if prediction.webhook is not None:
            receiver = self._receivers[prediction.id] = _Receiver(prediction, Course(prediction))
            self._plan(receiver)

    def hurry(self, prediction: Prediction) -> None:
        """Plans anew for a prediction that was canceled: it ends earlier than was planned."""
        receiver = self._receivers.get(prediction.id)
        if receiver is not None and receiver.planned is not None:
            self._plan(receiver)

    async def run(self) -> None:
        """Sends what is due, until it is cancelled; requests under way are cancelled with it."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        # A connection of its own for each request: one that the receiver had closed meanwhile would lose a message.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session, asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                for receiver in self._due(time.time()):
                    group.create_task(self._serve(session, receiver))
                wait = self._moments[0][0] - time.time() if self._moments else None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()

    def _plan(self, receiver: _Receiver) -> None:
        """Puts the receiver's next moment in the place of the one that it had; forgets the receiver where there is none."""
        moment = receiver.next_moment()
        if moment == float("inf"):
            del self._receivers[receiver.prediction.id]
            return
        receiver.planned = next(self._numbers)
        heapq.heappush(self._moments, (moment, receiver.planned, receiver))
        if self._moments[0][1] == receiver.planned:
            self._wake.set()

    def _due(self, now: float) -> list[_Receiver]:
        """Takes the receivers whose moment is past off the heap, the earliest first."""
        due = []
        while self._moments and self._moments[0][0] <= now:
            _, number, receiver = heapq.heappop(self._moments)
            if receiver.planned == number:
                receiver.planned = None
                due.append(receiver)
        return due

    async def _serve(self, session: aiohttp.ClientSession, receiver: _Receiver) -> None:
        """Does what is due for a receiver: takes the news, sends one message, and plans what comes next."""
        now = time.time()
        if receiver.course.next_moment() <= now:
            self._take_news(receiver, now)
        if receiver.outbox and receiver.outbox[0][0] <= now:
            _, _, message = heapq.heappop(receiver.outbox)
            if not await self._taken(session, receiver.prediction, message):
                again = message.next_attempt(time.time(), self._settings.webhook_retry_seconds)
                if again is not None:
                    self._put(receiver, again, message)
        if self._receivers.get(receiver.prediction.id) is receiver:
            self._plan(receiver)

    def _take_news(self, receiver: _Receiver, now: float) -> None:
        """Puts what the course has to tell now into the outbox."""
        if (news := receiver.course.take(now)) is not None:
            message = self._message(receiver.prediction, news, now)
            handling = handle(self._faults, receiver.prediction, message, now)
            for moment, copy in handling.sendings:
                if handling.held:
                    receiver.held.append((moment, copy))
                else:
                    self._put(receiver, moment, copy)
        if receiver.course.over:
            last = max((moment for moment, _, _ in receiver.outbox), default=now)
            for moment, held in receiver.held:
                self._put(receiver, max(moment, last), held)

    def _put(self, receiver: _Receiver, moment: float, message: Message) -> None:
        heapq.heappush(receiver.outbox, (moment, next(self._numbers), message))

    def _message(self, prediction: Prediction, news: News, now: float) -> Message:
        """The prediction object, exactly as a GET at that moment would give it."""
        view = prediction.view(news.moment, prediction.api_url, self._settings.retention_seconds)
        if news.output is not None:
            view["output"] = news.output
        body = encoded(view, prediction.api_url, self._settings.files_listen.port)
        completed = news.event == "completed"
        return Message(news.event, body, prediction.end()[0] if completed else now, retried=completed)

    async def _taken(self, session: aiohttp.ClientSession, prediction: Prediction, message: Message) -> bool:
        """Sends the message once, notes it in the ledger, and tells whether it was taken."""
        secret, counts = self._settings.webhook_secret, self.sent
        async with self._sending:
            now = time.time()
            message.attempts += 1
            request = message.request(secret, now)
            struck = spoil(self._faults, prediction, message.event, request, secret, self._another(prediction))
            row: dict[str, Any] = {
                "event": message.event,
                "id": message.id,
                "attempt": message.attempts,
                "sent_at": stamp(now),
                "answer": None,
                "faults": struck,
            }
            prediction.deliveries.append(row)
            counts["sent"] += 1
            row["answer"] = answer = await post(session, prediction.webhook or "", request)
        taken = isinstance(answer, int) and 200 <= answer < 300
        counts["acknowledged"] += taken
        return taken

    def _another(self, prediction: Prediction) -> str:
        """The id of the newest other prediction, or one that none has."""
        newest = self._predictions.all[-2:]
        return next((other.id for other in reversed(newest) if other is not prediction), new_id())
