"""Medians, and what they are held to."""

import pytest

from bench.records import Book, Sample
from bench.verdicts import Verdict, verdicts


def book_of(*lines: tuple[str, str, str, list[float]], foreign: float = 0.0) -> Book:
    book = Book()
    for row, what, subject, values in lines:
        for value in values:
            cpu = {"jobs": 1 / value, "gateway": 1 / value}
            book.add(row, what, subject, "jobs/s", Sample(value, {"p50": 3.0, "p99": 9.0}, cpu, foreign, counts={"rpcs": 2.0}))
    return book


def test_the_median_of_the_rounds_counts_and_their_spread_is_told():
    line = book_of(("a", "x", "mediagen", [90.0, 100.0, 130.0])).line("a", "x", "mediagen")
    assert (line.median(), line.spread()) == (100.0, 0.2)
    assert (line.median("p99"), line.median("cpu"), line.median("rpcs")) == (9.0, 0.02, 2.0)
    assert line.parts("cpu") == {"jobs": 0.01, "gateway": 0.01}


def test_a_peer_is_taken_in_its_best_form():
    forms = (("first design", 5.0), ("first design, 2 API processes", 7.0), ("taskiq", 9.0))
    book = book_of(*[("a", "x", subject, [value]) for subject, value in forms])
    assert book.best("a", "x", "first design").median() == 7.0
    assert book.best("e", "x", "first design") is None


@pytest.mark.parametrize(("ours", "word"), [(1000.0, "stretch"), (500.0, "must"), (300.0, "missed")])
def test_a_target_is_a_ratio_within_the_run(ours, word):
    what = "64 clients, one key"
    book = book_of(("a", what, "mediagen", [ours]), ("a", what, "first design", [100.0]))
    first = next(verdicts(book, in_flight=2000, waiting=1000, few=100))
    assert (first.value, first.word) == (ours / 100, word)


def test_a_target_that_was_not_measured_or_on_a_busy_machine_is_told_as_such():
    what = "64 clients, one key"
    busy = book_of(("a", what, "mediagen", [500.0]), ("a", what, "first design", [100.0]), foreign=0.2)
    judged = list(verdicts(busy, in_flight=2000, waiting=1000, few=100))
    assert judged[0].word == "void"
    assert {one.word for one in judged[1:]} == {"not measured"}
    assert Verdict("x", "less is better", 2.0, 3.0, 1.0, at_most=True, foreign=0.0).word == "must"
