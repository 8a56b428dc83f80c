"""Replicate and the workers of the properties, in memory: each POST is remembered, and what came of it."""

import json
from dataclasses import dataclass, field
from uuid import UUID

from jobs.timing import Timing
from model.world import PAID

LANDS_WITHIN = Timing().settle
"""Until so long after its intent a POST may make a prediction."""


@dataclass
class Prediction:
    """A prediction, and what it cost."""

    id: str
    prompt: str
    intent: UUID
    marked: bool
    """Whether it shows its intent, in its webhook's URL."""
    made_at: float
    status: str = "running"

    @property
    def paid(self) -> bool:
        return self.status in PAID


@dataclass(eq=False)
class Run:
    """One grant in one worker: what it knows, and what it is about to do (workers.py)."""

    worker: UUID
    job_id: UUID
    epoch: int
    step: str
    prompt: str
    begun: int = 0
    """When its look-up began, as the worker was told."""
    intent: UUID | None = None
    intended_at: float = 0.0
    prediction: str | None = None
    seen: list[str] = field(default_factory=list)
    marked: bool = False
    looked_before: bool = False


@dataclass(eq=False)
class Post:
    """A POST on its way."""

    run: Run
    intent: UUID
    prompt: str
    marked: bool
    sent_by: float
    """Until when it may land."""


class Provider:
    """Every prediction that was made."""

    def __init__(self) -> None:
        self.predictions: list[Prediction] = []
        self.posts: list[Post] = []

    def land(self, post: Post, now: float) -> Prediction:
        """A POST arrives, and makes a prediction."""
        self.posts.remove(post)
        made = Prediction(f"prediction-{len(self.predictions)}", post.prompt, post.intent, post.marked, now)
        self.predictions.append(made)
        return made

    def get(self, prediction_id: str) -> Prediction:
        return next(one for one in self.predictions if one.id == prediction_id)

    def list(self, prompt: str, intent: str) -> tuple[list[str], bool]:
        """What a look-up finds, as generator/lookup.py does: what is marked as its own, or what is equal and not marked at all."""
        own = [one.id for one in self.predictions if one.marked and str(one.intent) == intent]
        return own or [one.id for one in self.predictions if one.prompt == prompt and not one.marked], bool(own)

    def pass_time(self, now: float) -> None:
        """Cancel-After ends what runs for ten minutes; what cannot land any more is lost."""
        for one in self.predictions:
            if one.status == "running" and now - one.made_at > 600:
                one.status = "late"
        self.posts = [post for post in self.posts if now < post.sent_by]


def outputs(prediction_id: str) -> dict[str, str]:
    """The report of a stored output."""
    one = {"index": 0, "object_key": f"out/{prediction_id}.png", "content_type": "image/png", "size": 3, "sha256": "00"}
    return {"outputs": json.dumps([one])}
