"""Which events a webhook is told of, and when: computed from the prediction's times, as everything about it is."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from simulator.prediction import Prediction

Event = Literal["start", "output", "logs", "completed"]

DEFAULT_EVENTS: frozenset[Event] = frozenset(("output", "completed"))
"""What a webhook is told of where its create names no events."""

THROTTLE_SECONDS = 0.5
"""`output` and `logs`, taken together, are told at most once in this time. `start` and `completed` are always told."""

_BEFORE = 1e-6
"""How long before its end a prediction is looked at, in seconds, for what happened while it ran."""


@dataclass(frozen=True, slots=True)
class News:
    """Something to tell: the event, and the prediction at a moment, in seconds since 1970."""

    event: Event
    moment: float
    output: Any = None
    """The output, where it was there before the prediction had ended."""


@dataclass(slots=True, eq=False)
class Course:
    """The course of a prediction as its webhook sees it: what was told of it, and what comes next."""

    prediction: Prediction
    started: bool = False
    """`start` was told, or is no more to be told."""
    made: bool = False
    """The output that comes with the end was told, or is not to be told."""
    over: bool = False
    """Nothing more happens."""
    told: tuple[int, int] = (0, 0)
    """How much there was of logs and output when either was told the last time."""
    told_at: float = -math.inf
    looked_at: float = -math.inf
    wanted: frozenset[str] = DEFAULT_EVENTS

    def __post_init__(self) -> None:
        """Reads the filter."""
        names = self.prediction.webhook_events_filter
        self.wanted = DEFAULT_EVENTS if names is None else frozenset(names)
        self.started = "start" not in self.wanted

    def next_moment(self) -> float:
        """When `take` is to be called next; infinity where nothing more happens."""
        if self.over:
            return math.inf
        starts, (end, _) = self.prediction.starts, self.prediction.end()
        if not self.started and starts < end:
            return starts
        if "logs" in self.wanted or ("output" in self.wanted and self.prediction.model.streams):
            look = max(starts, self.looked_at + THROTTLE_SECONDS)
            if look < end:
                return look
        return end

    def take(self, now: float) -> News | None:
        """What is to be told at its next moment, which is past; None if nothing is, and the moment after that may be past too."""
        starts, (end, status) = self.prediction.starts, self.prediction.end()
        within = max(starts, min(now, end - _BEFORE))
        if not self.started and starts < end:
            self.started = True
            return News("start", within)
        if now < end:
            self.looked_at = now
            return self._change(now)
        if not self.made:
            self.made = True
            due = "output" in self.wanted and status == "succeeded" and self.prediction.output is not None
            if due and now - self.told_at >= THROTTLE_SECONDS:
                return News("output", within, self.prediction.output)
        self.over = True
        return News("completed", now) if "completed" in self.wanted else None

    def _change(self, now: float) -> News | None:
        """What grew while the prediction runs: its output, or else its logs."""
        logs, output = self.prediction.logs(now), self.prediction.output_so_far(now)
        size = (len(logs), len(output) if isinstance(output, list) else 0)
        if "output" in self.wanted and size[1] > self.told[1]:
            event: Event = "output"
        elif "logs" in self.wanted and size[0] > self.told[0]:
            event = "logs"
        else:
            return None
        self.told, self.told_at = size, now
        return News(event, now)
