"""What fault rules make of webhooks: of whole messages, and of single requests."""

from dataclasses import dataclass, replace

from simulator import webhook_rules
from simulator.faults import Faults, Target
from simulator.prediction import Prediction, new_id
from simulator.webhook_events import Event
from simulator.webhook_message import Message, SignedRequest, other_secret


@dataclass(slots=True)
class Handling:
    """What is done with a new message: it is sent at these moments, if any, or kept back until the end was told."""

    sendings: list[tuple[float, Message]]
    held: bool = False


def handle(faults: Faults, prediction: Prediction, message: Message, now: float) -> Handling:
    """Applies the rules that strike messages, and notes them at the prediction."""
    target = _target(prediction, message.event)
    if lost := faults.take(webhook_rules.WebhookLost, target):
        prediction.faults.append(lost.effect)
        return Handling([])
    moment = now
    if delayed := faults.take(webhook_rules.WebhookDelayed, target):
        moment = message.since = now + delayed.seconds
    sendings = [(moment, message)]
    if duplicate := faults.take(webhook_rules.WebhookDuplicate, target):
        sendings += [(moment + duplicate.seconds, replace(message, retried=False)) for _ in range(duplicate.copies)]
    reordered = faults.take(webhook_rules.WebhookReordered, target) if message.event == "start" else None
    prediction.faults.extend(rule.effect for rule in (delayed, duplicate, reordered) if rule is not None)
    return Handling(sendings, held=reordered is not None)


def spoil(faults: Faults, prediction: Prediction, event: Event, request: SignedRequest, secret: str, another: str) -> list[str]:
    """Applies the rules that strike requests, and returns their effects; `another` is the id of another prediction."""
    target = _target(prediction, event)
    if foreign := faults.take(webhook_rules.WebhookForeign, target):
        named = another if foreign.names == "another" else new_id()
        request.body = request.body.replace(prediction.id.encode(), named.encode())
        request.sign(secret)
    if old := faults.take(webhook_rules.WebhookTimestamp, target):
        request.moment -= round(old.age)
        request.sign(secret)
    signature = faults.take(webhook_rules.WebhookSignature, target)
    match signature and signature.kind:
        case "wrong":
            request.sign(other_secret())
        case "missing":
            request.signature = None
        case "tampered":
            request.body += b" "
        case "rotated":
            right = request.signature
            request.sign(other_secret())
            request.signature = f"{request.signature} {right}"
    return [rule.effect for rule in (foreign, old, signature) if rule is not None]


def _target(prediction: Prediction, event: Event) -> Target:
    return Target(prediction.model.name, prediction.prompt, event=event)
