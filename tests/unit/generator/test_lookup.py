"""Which prediction of the list may be a lost create's own."""

import datetime
from typing import Any

import pytest

from generator.lookup import LostCreate, matching, same_input, same_model
from mediagen.jobs.v1.worker_pb2 import LOOKUP_OUTCOME_EMPTY, LOOKUP_OUTCOME_FOUND, LOOKUP_OUTCOME_UNREADABLE

NOW = datetime.datetime(2026, 1, 1, 12, 0, 0, tzinfo=datetime.UTC)
INTENT, OTHER_INTENT = "5b0c7a52-0f6e-4f0e-9f6c-0a1b2c3d4e5f", "00000000-0f6e-4f0e-9f6c-0a1b2c3d4e5f"
LOST = LostCreate(INTENT, "owner/name", '{"prompt":"a cat","seed":9007199254740993}', intent_age_seconds=30)


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


def webhook(intent: str) -> str:
    return f"https://example.com/base/webhooks/replicate/{intent}?token=t"


def test_what_is_marked_as_ones_own_is_found_whatever_else_replicate_shows_of_it() -> None:
    own = prediction("own", 5, webhook=webhook(INTENT))
    for item in (own, {**own, "input": None, "data_removed": True}, {**own, "created_at": None}, {**own, "model": None}):
        sighting = matching(LOST, [prediction("twin", 3), item, prediction("other-twin", 20)], NOW)
        assert (sighting.outcome, sighting.prediction_ids, sighting.marked) == (LOOKUP_OUTCOME_FOUND, ("own",), True)


def test_what_is_marked_as_anothers_is_not_ones_own_however_alike() -> None:
    twin = prediction("twin", 5, webhook=webhook(OTHER_INTENT))
    assert matching(LOST, [twin], NOW).outcome == LOOKUP_OUTCOME_EMPTY
    assert matching(LOST, [{**twin, "input": None, "data_removed": True}], NOW).outcome == LOOKUP_OUTCOME_EMPTY
    sighting = matching(LOST, [twin, prediction("unmarked", 6)], NOW)
    assert (sighting.prediction_ids, sighting.marked) == (("unmarked",), False)


@pytest.mark.parametrize(
    "shown", [None, "", 7, "https://example.com/hook", "https://example.com/webhooks/replicate/***", webhook(INTENT[:-1])]
)
def test_a_webhook_that_tells_no_intent_decides_nothing(shown: Any) -> None:
    sighting = matching(LOST, [prediction("unmarked", 5, webhook=shown)], NOW)
    assert (sighting.outcome, sighting.marked) == (LOOKUP_OUTCOME_FOUND, False)


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
