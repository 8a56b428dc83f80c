"""The checker finds what it is for: a clean history passes, and each planted violation is found."""

from collections import Counter

import pytest

from history.__main__ import main
from history.checker import INVARIANTS, check
from history.evidence import Evidence
from history.money import paid_too_often
from unit.history import planted_answers, planted_bytes, planted_leftovers, planted_lives, planted_money
from unit.history.plants import PLANTS
from unit.history.world import KILLED, PLAIN, clean

MODULES = (planted_lives, planted_money, planted_bytes, planted_answers, planted_leftovers)
"""They fill PLANTS when they are imported."""


def test_a_clean_history_passes():
    assert check(clean().evidence) == []


@pytest.mark.parametrize(("invariant", "words", "planted"), PLANTS, ids=[planted.__name__ for _, _, planted in PLANTS])
def test_a_planted_violation_is_found(invariant, words, planted):
    world = clean()
    planted(world)
    assert any(violation.invariant == invariant and words in violation.what for violation in check(world.evidence))


def test_every_invariant_has_plants_of_its_own():
    planted = Counter(invariant for invariant, _, _ in PLANTS)
    assert planted.keys() == INVARIANTS.keys()
    assert min(planted.values()) >= 2


def test_a_violation_names_its_job():
    world = clean()
    world.evidence.objects.clear()
    assert (PLAIN,) in {violation.jobs for violation in check(world.evidence) if violation.invariant == "I5"}


def test_what_was_paid_too_often_is_counted():
    world = clean()
    assert paid_too_often(world.evidence) == 0
    for number in range(3):
        world.predict(f"again-{number}", "a twin fox")
        world.end(f"again-{number}", "succeeded" if number else "failed")
    assert paid_too_often(world.evidence) == 2


def test_evidence_survives_its_folder(tmp_path):
    evidence = clean().evidence
    evidence.save(tmp_path)
    assert Evidence.load(tmp_path) == evidence


def test_the_program_says_that_all_holds_and_exits_with_0(tmp_path, capsys):
    clean().evidence.save(tmp_path)
    assert main([str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.endswith(": holds") for line in lines) == 12
    assert any(line.startswith("jobs") and "8: 1 canceled, 7 succeeded" in line for line in lines)


def test_the_program_shows_the_history_of_a_job_that_breaks_a_promise_and_exits_with_1(tmp_path, capsys):
    world = clean()
    world.job(KILLED)["outputs"][0]["object_key"] = f"out/{KILLED}/1/0.webp"
    world.evidence.save(tmp_path)
    assert main([str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "I6   versions and epochs only grow, in one chain: VIOLATED" in shown
    assert f"job {KILLED}: succeeded in epoch 2" in shown
    assert "submitted → submitted (attach)" in shown
    assert "attempt 1 in epoch 1: succeeded" in shown


def test_the_program_refuses_a_folder_without_evidence(tmp_path):
    assert main([str(tmp_path)]) == 2
