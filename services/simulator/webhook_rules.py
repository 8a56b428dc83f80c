"""Fault rules about webhooks: what is told when, and what single requests look like."""

from typing import Literal, get_args

from pydantic import Field

from simulator.rule import Rule, Seconds
from simulator.webhook_events import Event


class WebhookRule(Rule):
    """A rule about what a webhook is told. The first four strike messages, with all their attempts; the others strike requests."""

    events: frozenset[Event] = frozenset(get_args(Event))


class WebhookLost(WebhookRule):
    """The message is never sent."""

    effect: Literal["webhook_lost"]


class WebhookDelayed(WebhookRule):
    """The message is sent `seconds` later. What is told meanwhile overtakes it."""

    effect: Literal["webhook_delayed"]
    seconds: Seconds


class WebhookDuplicate(WebhookRule):
    """The message is sent again, with the same id: `copies` times, `seconds` after it was due."""

    effect: Literal["webhook_duplicate"]
    copies: int = Field(1, ge=1, le=100)
    seconds: Seconds = 0


class WebhookReordered(Rule):
    """`start` is kept back until `completed` was sent."""

    effect: Literal["webhook_reordered"]


class WebhookSignature(WebhookRule):
    """The signature is not as it should be, or not what a careless receiver expects."""

    effect: Literal["webhook_signature"]
    kind: Literal["wrong", "missing", "tampered", "rotated"]
    """Of another key; none at all; of another body; or a right one after one of another key, as while keys are exchanged."""


class WebhookTimestamp(WebhookRule):
    """The request is signed as if it were `age` seconds old; less than zero is from the future."""

    effect: Literal["webhook_timestamp"]
    age: float = Field(ge=-86_400, le=86_400)


class WebhookForeign(WebhookRule):
    """The request, rightly signed, tells of a prediction that is not the webhook's."""

    effect: Literal["webhook_foreign"]
    names: Literal["another", "nobody"] = "another"
    """The id in it: that of the newest other prediction, or one that does not exist."""
