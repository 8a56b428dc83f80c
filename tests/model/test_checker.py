"""The checker itself, on models of a few states."""

from model.checker import STUCK, Model, check


def model(edges: dict[str, list[str]], goals: str = "", wrong: str = "", wrong_step: str = "") -> Model[str]:
    return Model(
        "a",
        lambda state: [(f"{state}{after}", after) for after in edges.get(state, [])],
        lambda state: ["bad state"] if state in wrong else [],
        lambda before, after: ["bad step"] if before + after == wrong_step else [],
        lambda state: state in goals,
    )


def test_every_reachable_state_is_visited_once():
    verdict = check(model({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": ["a"], "x": ["a"]}, goals="d"))
    assert (verdict.states, verdict.holds) == (4, True)


def test_the_trace_to_a_wrong_state_is_a_shortest_one():
    verdict = check(model({"a": ["b", "e"], "b": ["c"], "c": ["d"], "e": ["d"]}, goals="d", wrong="d"))
    assert verdict.traces == {"bad state": ["ae", "ed"]}


def test_a_wrong_step_is_found_even_where_it_leads_to_a_state_that_is_known():
    verdict = check(model({"a": ["b", "c"], "b": ["c"], "c": []}, goals="c", wrong_step="bc"))
    assert verdict.traces == {"bad step": ["ab", "bc"]}


def test_a_state_from_which_no_goal_can_be_reached_is_stuck_also_where_it_can_move():
    verdict = check(model({"a": ["b", "c"], "b": ["e"], "e": ["b"], "c": []}, goals="c"))
    assert verdict.traces == {STUCK: ["ab"]}


def test_a_circle_with_a_way_out_is_not_stuck():
    assert check(model({"a": ["b"], "b": ["a", "c"]}, goals="c")).holds


def test_a_check_that_was_cut_short_does_not_hold():
    endless = Model(0, lambda state: [("next", state + 1)], lambda state: [], lambda before, after: [], lambda state: True)
    verdict = check(endless, limit=10)
    assert (verdict.complete, verdict.holds) == (False, False)


def test_a_check_until_something_is_broken_visits_no_deeper_state():
    verdict = check(model({"a": ["b"], "b": ["c"], "c": ["d"]}, wrong="b"), until="bad state")
    assert verdict.traces == {"bad state": ["ab"]}
    assert verdict.states < 4
