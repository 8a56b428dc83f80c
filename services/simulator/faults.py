"""The faults in force: which rule strikes a create, a read, a prediction or a download."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from simulator.call_rules import AnswerRule, Call, LowCredit, ReadRule, ThrottleForm
from simulator.file_rules import FileRule
from simulator.rule import Rule
from simulator.rules import AnyRule
from simulator.webhook_events import Event
from simulator.webhook_rules import WebhookRule

State = TypeVar("State", LowCredit, ThrottleForm)
Counted = TypeVar("Counted", bound=Rule)


@dataclass(frozen=True)
class Target:
    """What a rule is matched with: a prediction, and the call, the file of it or the event of it that is at stake."""

    model: str = ""
    prompt: str = ""
    call: Call | None = None
    index: int | None = None
    event: Event | None = None


@dataclass
class Active:
    """A rule at work."""

    rule: AnyRule
    applied: int = 0
    """How often it was applied so far."""


class Faults:
    """The rules in force."""

    def __init__(self, seed: int) -> None:
        """Without any rule; `seed` decides where a probability strikes."""
        self._chance = random.Random(seed)  # noqa: S311  repeatable by design
        self.active: list[Active] = []

    def replace(self, rules: Iterable[AnyRule]) -> None:
        """Puts these rules, unapplied, in the place of all others."""
        self.active = [Active(rule) for rule in rules]

    def take(self, kind: type[Counted] | tuple[type[Counted], ...], target: Target) -> Counted | None:
        """The first rule of that kind that strikes the target, counted as applied; None where all goes well."""
        for active in self.active:
            rule = active.rule
            if not isinstance(rule, kind) or (rule.times is not None and active.applied >= rule.times):
                continue
            if _matches(rule, target) and self._chance.random() < rule.probability:
                active.applied += 1
                return rule
        return None

    def state(self, kind: type[State]) -> State | None:
        """The rule about the account's state, if there is one."""
        return next((active.rule for active in self.active if isinstance(active.rule, kind)), None)


def _matches(rule: Rule, target: Target) -> bool:
    if rule.when.model is not None and rule.when.model not in target.model:
        return False
    if rule.when.prompt is not None and rule.when.prompt not in target.prompt:
        return False
    if isinstance(rule, ReadRule | AnswerRule) and target.call not in rule.calls:
        return False
    if isinstance(rule, WebhookRule) and target.event not in rule.events:
        return False
    return not isinstance(rule, FileRule) or rule.index in (None, target.index)
