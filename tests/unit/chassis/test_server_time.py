"""The time by another server's clock."""

import datetime
import email.utils

import pytest

from chassis.server_time import ServerTime

HOUR = datetime.timedelta(hours=1)
SECONDS = datetime.timedelta(seconds=5)


def header(off: datetime.timedelta) -> str:
    return email.utils.format_datetime(datetime.datetime.now(datetime.UTC) + off, usegmt=True)


@pytest.mark.parametrize("off", [HOUR, -HOUR])
def test_a_server_is_believed_about_its_own_time(off: datetime.timedelta) -> None:
    clock = ServerTime()
    assert abs(clock.learn(header(off)) - off) < SECONDS
    assert abs(clock.now() - (datetime.datetime.now(datetime.UTC) + off)) < SECONDS
    assert abs(clock.learn(header(off))) < SECONDS


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_where_it_tells_no_time_ours_counts(date: str | None) -> None:
    clock = ServerTime()
    assert clock.learn(date) == datetime.timedelta()
    assert abs(clock.now() - datetime.datetime.now(datetime.UTC)) < SECONDS
