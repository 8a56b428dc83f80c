"""The one account that the simulator plays: everything it remembers, and how a prediction comes to be."""

import math
import random
import secrets
import time
from dataclasses import dataclass
from typing import Any

from simulator import call_rules, prediction_rules
from simulator.faults import Faults, Target
from simulator.ledger import Ledger
from simulator.limits import Limits
from simulator.models import Model
from simulator.outputs import input_digest, planned_files, planned_output, reshaped
from simulator.prediction import Prediction, spread
from simulator.predictions import Predictions
from simulator.problems import Problem, ThrottleAnswer, throttled
from simulator.settings import Settings
from simulator.uploads import Uploads
from simulator.webhooks import Webhooks


@dataclass(frozen=True)
class Order:
    """A create that was checked: what to predict, and what its client asked for around it."""

    model: Model
    version: str
    input: dict[str, Any]
    cancel_after: float | None = None
    deployment: str | None = None
    api_url: str = ""
    webhook: str | None = None
    webhook_events_filter: list[str] | None = None

    @property
    def prompt(self) -> str:
        """The prompt of the input, or of the model's defaults."""
        default = self.model.inputs["prompt"].default if "prompt" in self.model.inputs else ""
        return str(self.input.get("prompt", default or ""))


class Account:
    """Its predictions, uploads, limits, ledger and faults."""

    def __init__(self, settings: Settings) -> None:
        """An account with nothing in it."""
        self.settings = settings
        self.webhooks = Webhooks(settings)
        self.reset()

    def reset(self) -> None:
        """Forgets everything, the faults included, and fills the buckets."""
        self.predictions = Predictions()
        self.uploads = Uploads()
        self.ledger = Ledger()
        self.limits = Limits(self.settings.creates_per_minute, self.settings.reads_per_minute)
        self.faults = Faults(self.settings.seed)
        self.webhooks.reset(self.faults, self.predictions)
        self._newest = 0.0

    def count_create(self) -> None:
        """Counts a POST that asks for a prediction; raises the 429 where the account makes too many of them."""
        now = time.monotonic()
        self.ledger.posts.count(now)
        low = self.faults.state(call_rules.LowCredit) is not None
        wait = self.limits.low_credit.take(now) if low else self.limits.creates.take(now)
        if wait:
            raise self._throttled(wait, low)

    def count_read(self, call: call_rules.ReadCall) -> None:
        """Counts any other call; raises the 429 where the account makes too many of them."""
        now = time.monotonic()
        self.ledger.reads.count(now)
        self.ledger.reads_by_call[call] += 1
        if wait := self.limits.reads.take(now):
            raise self._throttled(wait, low=False)

    def _throttled(self, wait: float, low: bool) -> Problem:
        self.ledger.throttled += 1
        form = self.faults.state(call_rules.ThrottleForm)
        default: ThrottleAnswer = "throttled_low_credit" if low else "throttled_about"
        problem = throttled(form.answer if form else default, wait)
        if form and form.retry_after_header:
            problem.retry_after = math.ceil(wait)
        return problem

    def create(self, order: Order) -> Prediction:
        """Makes the prediction, with whatever faults strike it. It is in the list, and counted, from here on."""
        seq = len(self.predictions.all) + 1
        draw = random.Random(f"{self.settings.seed}:{seq}")  # noqa: S311  the seeded clock
        # The list is ordered by these times, and the clock of a machine may be set back. The API shows microseconds, and
        # a client that asks for what came before or after a time it was shown means exactly that.
        now = self._newest = max(self._newest, round(time.time(), 6))
        starts = now + spread(self.settings.queue_seconds, draw)
        seed = order.input.get("seed")
        if not isinstance(seed, int):
            seed = secrets.randbelow(1 << 31)
        token = secrets.token_urlsafe(24)
        files = planned_files(order.model, order.input, token)
        prediction = Prediction(
            seq=seq,
            model=order.model,
            version=order.version,
            input=order.input,
            input_sha256=input_digest(order.input),
            prompt=order.prompt,
            seed=seed,
            created=now,
            starts=starts,
            ends=starts + spread(self.settings.predict_seconds, draw),
            listed=now,
            output=planned_output(order.model, files, order.prompt, seed),
            files=files,
            token=token,
            deadline=None if order.cancel_after is None else now + order.cancel_after,
            deployment=order.deployment,
            api_url=order.api_url,
            webhook=order.webhook,
            webhook_events_filter=order.webhook_events_filter,
        )
        self._strike(prediction)
        self.predictions.add(prediction)
        self.predictions.forget_data(now, self.settings.retention_seconds)
        return prediction

    def _strike(self, prediction: Prediction) -> None:
        """Applies the rules about predictions: at most one of each effect, durations first, as ends depend on them."""
        target = Target(prediction.model.name, prediction.prompt)
        if duration := self.faults.take(prediction_rules.PredictionDuration, target):
            if duration.queue_seconds is not None:
                prediction.starts = prediction.created + duration.queue_seconds
            prediction.ends = prediction.starts + duration.seconds
        if status := self.faults.take(prediction_rules.PredictionStatus, target):
            prediction.odd_status = status.status
            prediction.odd_until = math.inf if status.seconds is None else prediction.starts + status.seconds
            prediction.ends = max(prediction.ends, prediction.odd_until)
        if end := self.faults.take(prediction_rules.PredictionEnds, target):
            prediction.ending, prediction.error = end.status, "Prediction failed" if end.error is None else end.error
            if end.status == "aborted":
                prediction.ends = prediction.starts
            elif end.status == "canceled":
                prediction.ends = (prediction.starts + prediction.ends) / 2
        if output := self.faults.take(prediction_rules.PredictionOutput, target):
            prediction.output = reshaped(output, prediction.files, prediction.output)
            prediction.inline = output.shape == "data_uri"
        if lag := self.faults.take(prediction_rules.ListLag, target):
            prediction.listed = prediction.created + lag.seconds
        if logs := self.faults.take(prediction_rules.PredictionLogs, target):
            prediction.log_size = logs.size
        if times := self.faults.take(prediction_rules.PredictionTimes, target):
            prediction.digits, prediction.ends_before = times.digits, times.ends_before
        struck = (duration, status, end, output, lag, logs, times)
        prediction.faults.extend(rule.effect for rule in struck if rule is not None)

    def ledger_view(self) -> dict[str, Any]:
        """The answer of GET /control/ledger."""
        now = time.time()
        ledger = self.ledger
        webhooks: dict[str, int] = {}
        for prediction in self.predictions.all:
            if prediction.webhook:
                webhooks[prediction.webhook] = webhooks.get(prediction.webhook, 0) + 1
        return {
            "creates": len(self.predictions.all),
            "posts": ledger.posts.total,
            "max_posts_in_a_minute": ledger.posts.most,
            "refused": dict(ledger.refused),
            "creates_by_webhook": webhooks,
            "reads": ledger.reads.total,
            "reads_by_call": dict(ledger.reads_by_call),
            "max_reads_in_a_minute": ledger.reads.most,
            "throttled": ledger.throttled,
            "webhooks": dict(self.webhooks.sent),
            "downloads": ledger.downloads,
            "authorization_seen_on_files": ledger.authorization_seen_on_files,
            "predictions": [prediction.ledger_row(now) for prediction in self.predictions.all],
        }
