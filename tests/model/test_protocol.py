"""The protocol holds in every state that can be reached, and each mistake breaks what it is known to break."""

import pytest

from jobs.states import TRANSITIONS
from model import invariants
from model.checker import STUCK, check
from model.variants import BROKEN, HOLDING

CHECKED = [variant for variant in HOLDING if not variant.large]
OUTSIDE: dict[str, str] = {}
"""Rows of the table that the model does not exercise, each with the reason."""

rows_used: set[tuple[str, str]] = set()


@pytest.mark.timeout(1200)  # a million states, on however slow a core
@pytest.mark.parametrize("variant", CHECKED, ids=lambda variant: variant.name)
def test_the_protocol_holds_in_every_state(variant):
    model, service = variant.model()
    verdict = check(model)
    rows_used.update(service.rows_used)
    assert verdict.holds, "\n".join(f"{name}: {' → '.join(trace)}" for name, trace in verdict.traces.items())
    if variant.faults.crashes == variant.faults.expiries == 2:
        assert verdict.states >= 500_000


def test_every_row_of_the_table_is_exercised_by_the_model_and_no_other():
    missing = {(row.verb, row.source.value) for row in TRANSITIONS} - rows_used
    assert missing == set(OUTSIDE), "the model's variants must reach each row of jobs/states.py, or OUTSIDE say why not"


@pytest.mark.parametrize("variant", BROKEN, ids=lambda variant: variant.name)
def test_a_mistake_breaks_the_invariant_that_it_is_known_to_break(variant):
    model, _ = variant.model()
    assert variant.breaks in check(model, until=variant.breaks).traces


def test_every_invariant_is_broken_by_some_mistake():
    names = {value for name, value in vars(invariants).items() if name.isupper() and isinstance(value, str)} | {STUCK}
    assert names == {variant.breaks for variant in BROKEN}
