"""Which prediction of the list may be a lost create's own."""

import datetime
from typing import Any

import pytest

from generator.lookup import LostCreate, matching, same_input, same_model
from mediagen.jobs.v1.worker_pb2 import LOOKUP_OUTCOME_EMPTY, LOOKUP_OUTCOME_FOUND, LOOKUP_OUTCOME_UNREADABLE

NOW = datetime.datetime(2026, 1, 1, 12, 0, 0, tzinfo=datetime.UTC)
LOST = LostCreate("owner/name", '{"prompt":"a cat","seed":9007199254740993}', intent_age_seconds=30)


def prediction(prediction_id: str, age: float, **fields: Any) -> dict[str, Any]:
    created = (NOW - datetime.timedelta(seconds=age)).isoformat(timespec="microseconds").replace("+00:00", "123Z")
    item = {"id": prediction_id, "model": "owner/name", "version": "hidden", "input": {"prompt": "a cat", "seed": 9007199254740993}}
    return {**item, "created_at": created, **fields}


def test_every_match_is_named_oldest_first() -> None:
    sighting = matching(LOST, [prediction("newer", 5), prediction("older", 20), prediction("middle", 10)], NOW)
    assert sighting.outcome == LOOKUP_OUTCOME_FOUND
    assert sighting.prediction_ids == ("older", "middle", "newer")


@pytest.mark.parametrize(
    "item",
    [
        prediction("too-old", 91),
        prediction("other-model", 5, model="owner/other"),
        prediction("other-prompt", 5, input={"prompt": "a dog", "seed": 9007199254740993}),
        prediction("other-seed", 5, input={"prompt": "a cat", "seed": 9007199254740992}),
        prediction("less", 5, input={"prompt": "a cat"}),
    ],
    ids=lambda item: item["id"],
)
def test_what_differs_in_model_input_or_time_does_not_match(item: dict[str, Any]) -> None:
    assert matching(LOST, [item], NOW).outcome == LOOKUP_OUTCOME_EMPTY


def test_a_clock_that_is_a_minute_off_still_finds_it() -> None:
    assert matching(LOST, [prediction("early", 89)], NOW).outcome == LOOKUP_OUTCOME_FOUND
    assert matching(LOST, [prediction("future", -59)], NOW).outcome == LOOKUP_OUTCOME_FOUND


def test_where_replicate_has_erased_an_input_nothing_is_ruled_out() -> None:
    erased = prediction("erased", 5, input={}, data_removed=True)
    assert matching(LOST, [erased], NOW).outcome == LOOKUP_OUTCOME_UNREADABLE
    assert matching(LOST, [prediction("no-time", 5, created_at="yesterday")], NOW).outcome == LOOKUP_OUTCOME_UNREADABLE
    assert matching(LOST, [prediction("no-input", 5, input=None)], NOW).outcome == LOOKUP_OUTCOME_UNREADABLE
    assert matching(LOST, [{**erased, "model": "owner/other"}], NOW).outcome == LOOKUP_OUTCOME_EMPTY
    assert matching(LOST, [erased, prediction("found", 5)], NOW).prediction_ids == ("found",)


def test_an_input_that_may_be_ours_with_defaults_filled_in_is_neither_bound_nor_ruled_out() -> None:
    fuller = prediction("fuller", 5, input={"prompt": "a cat", "seed": 9007199254740993, "steps": 4})
    assert matching(LOST, [fuller], NOW).outcome == LOOKUP_OUTCOME_UNREADABLE
    assert matching(LOST, [fuller, prediction("exact", 5)], NOW).prediction_ids == ("exact",)


VERSION, OTHER = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("model", "item", "same"),
    [
        ("o/n", {"model": "o/n", "version": "hidden"}, True),
        ("o/n", {"model": "o/m", "version": "hidden"}, False),
        (VERSION, {"model": "o/n", "version": VERSION}, True),
        (VERSION, {"model": "o/n", "version": OTHER}, False),
        (f"o/n:{VERSION}", {"model": "o/n", "version": VERSION}, True),
        (f"o/n:{VERSION}", {"model": "o/n", "version": OTHER}, False),
        (f"o/n:{VERSION}", {"model": "o/m", "version": VERSION}, False),
        ("O/Name", {"model": "o/name", "version": "hidden"}, True),
        ("o/name", {"model": "O/Name", "version": "hidden"}, True),
        (VERSION.upper(), {"model": "o/n", "version": VERSION}, True),
        (f"O/N:{VERSION.upper()}", {"model": "o/n", "version": VERSION}, True),
        (f"O/N:{VERSION.upper()}", {"model": "o/n", "version": OTHER}, False),
        ("o/n", {"model": None}, False),
    ],
)
def test_a_model_is_matched_by_its_name_its_version_or_both_in_any_case(model: str, item: dict[str, Any], same: bool) -> None:
    assert same_model(model, item) is same


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": True}, {"a": True}, True),
        ({"a": 0}, {"a": False}, False),
        ({"a": 1}, {"a": 1, "b": None}, True),
        ({"a": 1, "b": None}, {"a": 1}, True),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": {"b": [1.5]}}, {"a": {"b": [1.5]}}, True),
        ({"a": "1"}, {"a": 1}, False),
        ({}, {}, True),
        ({}, [], False),
    ],
)
def test_inputs_are_compared_as_json_values(ours: Any, theirs: Any, same: bool) -> None:
    assert same_input(ours, theirs) is same
