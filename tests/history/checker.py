"""Decides the twelve invariants on the evidence of an experiment."""

from collections.abc import Callable, Iterator

from history import answers, calm, growth, life, money, objects
from history.evidence import Evidence, Violation

INVARIANTS: dict[str, tuple[str, Callable[[Evidence], Iterator[Violation]]]] = {
    "I1": ("every accepted job has exactly one end", life.ends_once),
    "I2": ("nothing happens after the end", life.nothing_after_the_end),
    "I3": ("no job is paid for twice", money.paid_once),
    "I4": ("every prediction is accounted for", money.no_unknown_money),
    "I5": ("completed means that the bytes are there", objects.bytes_as_made),
    "I6": ("versions and epochs only grow, in one chain", life.one_chain),
    "I7": ("one Idempotency-Key, one job", answers.one_job_a_key),
    "I8": ("what is told moves forward, to the end", answers.in_order),
    "I9": ("nothing is left in queues, leases or doubt", calm.nothing_left),
    "I10": ("no object without a job", objects.explained),
    "I11": ("no secret and no prompt is written down", calm.nothing_told),
    "I12": ("memory, descriptors and connections come back", growth.back_to_baseline),
}
"""What each means, and who decides it."""


def check(evidence: Evidence) -> list[Violation]:
    """Every violation, I1 first; none means that the evidence shows a system that kept its promises."""
    return [violation for _, decide in INVARIANTS.values() for violation in decide(evidence)]
