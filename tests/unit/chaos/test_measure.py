"""What the soak measures is measured right: on histories whose times are known."""

import itertools

import pytest

from chaos.soak.faults import Fault
from chaos.soak.measure import ACCEPTED, overlap, percentile, waits_after_kills, waits_of_lost_creates, waits_until_back
from chaos.soak.storm import Struck
from history.evidence import Evidence


async def nothing(*_):
    return None


KILL = Fault("generator-1: SIGKILL", nothing, 0, 1, frozenset(), generator="generator-1")
BLOCKING = Fault("postgresql: SIGKILL", nothing, 0, 1, frozenset({"postgresql"}))
HARMLESS = Fault("s3: SIGKILL", nothing, 0, 1, frozenset({"s3"}))


def history(*steps, job="a"):
    """Events of one job: (at, verb, from, to, actor, epoch)."""
    versions = itertools.count(1)
    return [
        {"job_id": job, "version": next(versions), "at": at, "reason": verb, "from_state": before, "to_state": to}
        | {"actor": actor, "epoch": epoch}
        for at, verb, before, to, actor, epoch in steps
    ]


ACCEPT = (0, "accept", None, "queued", "client", 0)
CLAIM = (1, "claim", "queued", "claimed", "w1", 1)
INTEND = (2, "intend", "claimed", "submitting", "w1", 1)
CREATED = (3, "created", "submitting", "submitted", "w1", 1)
EXPIRE = (40, "expire", "submitted", "submitted", "sweeper", 1)
ATTACH = (41, "attach", "submitted", "submitted", "w2", 2)
KILLED = Struck(KILL, began=10, ended=11, grant=("a", 1))


@pytest.mark.parametrize(
    ("events", "waits"),
    [
        (history(ACCEPT, CLAIM, INTEND, CREATED, EXPIRE, ATTACH), [31]),
        (history(ACCEPT, CLAIM, (38, "expire", "claimed", "queued", "sweeper", 1)), [28]),
        (
            history(
                ACCEPT, CLAIM, INTEND,
                (39, "expire", "submitting", "unknown", "sweeper", 1), (43, "reconcile", "unknown", "unknown", "w2", 2),
            ),
            [33],
        ),
        (history(ACCEPT, CLAIM, INTEND, CREATED, (12, "cancel", "submitted", "submitted", "client", 1), EXPIRE, ATTACH), [31]),
        (history(ACCEPT, CLAIM, INTEND, CREATED, (9, "release", "submitted", "submitted", "w1", 1), ATTACH), []),
        (history(ACCEPT, CLAIM, INTEND, CREATED, (8, "complete", "submitted", "succeeded", "w1", 1)), []),
    ],
    ids=["attached", "queued again", "looked up", "a cancel is no move", "given back before", "finished before"],
)  # fmt: skip
def test_work_of_a_killed_generator_waits_until_another_one_has_it(events, waits):
    assert [wait.seconds for wait in waits_after_kills(Evidence(events=events), [KILLED])] == waits


def test_the_work_of_other_generators_does_not_wait():
    other = [{**event, "actor": "w3"} for event in history(ACCEPT, CLAIM, INTEND, CREATED, EXPIRE, ATTACH, job="b")]
    events = history(ACCEPT, CLAIM, INTEND, CREATED, EXPIRE, ATTACH) + other
    assert {wait.job for wait in waits_after_kills(Evidence(events=events), [KILLED])} == {"a"}


def test_time_in_which_something_else_stood_in_the_way_is_told_apart():
    events = history(ACCEPT, CLAIM, INTEND, CREATED, EXPIRE, ATTACH)
    struck = [
        *(KILLED, Struck(BLOCKING, began=5, ended=15), Struck(BLOCKING, began=13, ended=20), Struck(BLOCKING, began=90, ended=99)),
        Struck(HARMLESS, began=25, ended=40),
    ]
    [wait] = waits_after_kills(Evidence(events=events), struck)
    assert (wait.seconds, wait.net) == (31, 16)  # of the 31 s from 10 to 41, those up to 25: the last one ended at 20, and 5 s more


def test_a_lost_create_is_resolved_when_the_job_is_unknown_no_more():
    events = history(
        ACCEPT, CLAIM, INTEND,
        (10, "lost", "submitting", "unknown", "w1", 1), (12, "reconcile", "unknown", "unknown", "w2", 2),
        (100, "found", "unknown", "submitted", "w2", 2),
    )  # fmt: skip
    assert [wait.seconds for wait in waits_of_lost_creates(Evidence(events=events), [])] == [90]


def test_the_first_sign_of_life_counts_from_the_end_of_the_fault():
    group = Fault("rabbitmq: SIGKILL", nothing, 0, 1, frozenset({"rabbitmq"}), group="rabbitmq: SIGKILL")
    struck = [Struck(group, began=10, ended=20), Struck(BLOCKING, began=21, ended=22)]
    [wait] = waits_until_back([5, 12, 30, 40], "rabbitmq", struck, ACCEPTED)
    assert (wait.seconds, wait.net) == (10, 4)


def test_overlapping_spans_count_once():
    assert overlap(0, 100, [(10, 30), (20, 40), (90, 200), (-5, 1)]) == 41


def test_percentiles():
    assert percentile([], 0.95) is None
    assert percentile(range(100), 0.95) == 95
    assert percentile([3, 1, 2], 0.5) == 2
