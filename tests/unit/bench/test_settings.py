"""What a run of the bench is told."""

from pathlib import Path

import pytest

from bench.settings import PEERS, ROWS, Settings


def test_what_is_not_set_has_a_value():
    assert Settings.read({"ROWS": "", "OTHER": "x"}) == Settings()


def test_the_row_that_takes_an_hour_is_measured_only_when_it_is_named():
    assert "l" in ROWS and "l" not in Settings().rows
    assert Settings.read({"ROWS": "l"}).rows == ("l",)


def test_each_setting_is_read():
    given = {
        "ROWS": "b, a",
        "SECONDS": "0.5",
        "ROUNDS": "1",
        "PEERS": "0",
        "WAITING": "1000",
        "IN_FLIGHT": "50",
        "MINUTES": "2.5",
        "REPORT": "r.json",
    }
    assert Settings.read(given) == Settings(("a", "b"), 0.5, 1, (), 1000, 50, 2.5, Path("r.json").absolute())


def test_peers_are_all_none_or_named():
    assert Settings.read({"PEERS": "1"}).peers == PEERS
    assert Settings.read({"PEERS": "taskiq,first_design"}).peers == ("first_design", "taskiq")


@pytest.mark.parametrize(
    ("name", "value", "meaning"),
    [
        ("ROWS", "a,z", "some of limits,a,b,c,d,e,f,g,h,i,j,k,l,q"),
        ("SECONDS", "0", "a number above 0"),
        ("SECONDS", "inf", "a number above 0"),
        ("ROUNDS", "1.5", "a whole number above 0"),
        ("PEERS", "2", "0, 1 or some of first_design,celery_rabbitmq,taskiq,procrastinate"),
        ("WAITING", "-1", "a whole number above 0"),
        ("IN_FLIGHT", "5001", "a whole number from 1 to 5000, the most slots that a generator has"),
        ("MINUTES", "0.5", "a number from 1"),
        ("REPORT", "/nowhere/report.json", "a file that can be written"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(name, value, meaning):
    with pytest.raises(ValueError, match=f"^{name}={value} is not {meaning}$"):
        Settings.read({name: value})
