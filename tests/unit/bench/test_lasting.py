"""Row l: what an interval of it says, and what the quarters are held to."""

import os
from types import SimpleNamespace

import pytest

from bench import forgetful
from bench.lasting import HELD, QUARTERS, Moment, interval, intervals
from bench.meter import Reading, proportional, resident
from bench.records import Book, Sample
from bench.starts import starts_after
from bench.verdicts import SERVICES, verdicts

OURS = SimpleNamespace(name="mediagen", owns=lambda process: process != "other")


def moment(at: float, cpu: float, finished: float, deleted: float, wal: float, dead: float) -> Moment:
    clocks = Reading(at, {"jobs": cpu, "other": 9 * cpu}, own=0.0, machine=10 * cpu)
    return Moment(clocks, {"finished": finished, "deleted": deleted}, wal, {"dead rows": dead})


def test_an_interval_says_what_has_passed_in_it_and_how_high_things_stand_at_its_end():
    before, after = moment(100.0, 1.0, 1000.0, 10.0, 4096.0, 70.0), moment(110.0, 3.0, 1500.0, 40.0, 4096.0 + 500 * 2048, 50.0)
    sample = interval(OURS, before, after, [0.01] * 98 + [0.02, 0.3])
    assert sample.value == 50.0
    assert sample.cpu == {"jobs": pytest.approx(4.0)}
    assert sample.latency["p50"] == pytest.approx(10.0) and sample.latency["p99"] == pytest.approx(300.0)
    assert sample.counts == {"longest ms": pytest.approx(300.0), "deleted": 30.0, "WAL KiB": 2.0, "dead rows": 50.0}


def test_an_interval_in_which_nothing_is_done_is_one_too():
    standstill = moment(100.0, 1.0, 1000.0, 10.0, 4096.0, 70.0)
    sample = interval(OURS, standstill, moment(110.0, 1.0, 1000.0, 10.0, 4096.0, 70.0), [])
    assert (sample.value, sample.latency, sample.counts["longest ms"]) == (0.0, {}, 0.0)


@pytest.mark.parametrize(("minutes", "count", "every"), [(60, 60, 60.0), (240, 60, 240.0), (2, 12, 10.0), (1, 6, 10.0)])
def test_a_run_has_sixty_intervals_unless_they_would_be_too_short(minutes, count, every):
    assert intervals(60 * minutes) == (count, every)


def test_starts_are_read_from_where_one_has_read_to_and_a_line_only_when_it_is_whole(tmp_path):
    file = tmp_path / "starts"
    assert starts_after(file, 0) == ([], 0)
    file.write_bytes(b"0.100000\n0.2000")
    first, position = starts_after(file, 0)
    assert (first, position) == ([0.1], 9)
    file.write_bytes(b"0.100000\n0.200000\n0.300000\n")
    assert starts_after(file, position) == ([0.2, 0.3], 27)


def test_what_is_shared_counts_for_no_more_than_what_is_held():
    assert 0 < proportional(os.getpid()) <= resident(os.getpid())


def test_the_retention_of_the_run_is_given_in_place_of_the_settings_for_jobs_and_their_keys(monkeypatch):
    given = {}
    monkeypatch.setattr(forgetful.forgetting, "Forgetting", lambda database, **settings: given.update(settings) or database)
    assert forgetful.keeping(600.0)("database", lease=30, idempotency_seconds=86_400, retention_seconds=0) == "database"
    assert given == {"lease": 30, "idempotency_seconds": 600.0, "retention_seconds": 600.0}


def lasted(quarters: list[list[float]]) -> Book:
    """Each number is an interval's p99, its WAL of a job, and so on."""
    book = Book()
    for what, values in zip(QUARTERS, quarters, strict=True):
        for value in values:
            levels = {name: value for name in ("WAL KiB", "dead rows", "MiB of tables", "jobs: live rows")}
            held = {HELD + service: value for service in SERVICES}
            sample = Sample(600.0, {"p50": value / 2, "p99": value}, {"jobs": value}, counts=levels | held)
            book.add("l", what, "mediagen", "jobs/s", sample)
    return book


def judged(book: Book) -> dict[str, tuple[float | None, str]]:
    every = verdicts(book, in_flight=2000, waiting=1000, few=100)
    return {one.what: (one.value and round(one.value, 3), one.word) for one in every if one.row == "l"}


def test_the_last_quarter_is_held_to_the_second_and_the_slowest_interval_to_the_usual_one():
    found = judged(lasted([[50.0, 50.0], [100.0, 102.0, 98.0], [100.0, 100.0], [105.0, 108.0, 900.0]]))
    slowest = found.pop("p99 to start in the slowest interval, of the median one's")
    assert slowest == (9.0, "missed")
    assert {value for value, _ in found.values()} == {1.08}
    assert {what: word for what, (_, word) in found.items() if word != "must"} == {
        "dead rows, of the second quarter's": "stretch",
        "p99 to start, of the second quarter's": "stretch",
    }


def test_nothing_is_said_of_it_where_it_was_not_asked_for():
    assert judged(Book()) == {}
