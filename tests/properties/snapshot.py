"""The whole database at one moment, in one query: jobs, their history, their submissions, the lane. And what must be true of it."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import orjson

from jobs.database import Database
from jobs.states import FINAL, State
from jobs.timing import Timing
from model.service import NONE, Job
from properties.clock import TICK

Row = dict[str, Any]

GIVEN_BACK = {"refused", "not_sent", "not_created", "aborted", "orphan_canceled"}
"""States of a submission whose attempt was given back."""

SETTLE, LEASE = int(Timing().settle * 1_000_000), int(Timing().lease * 1_000_000)

LEASED = {State.CLAIMED, State.SUBMITTING}
UNLEASED = {State.QUEUED, *FINAL}

_SQL = f"""
WITH ticked AS ({TICK})
SELECT
    (SELECT json_agg(to_json(j)) FROM (
        SELECT *, lease_until <= now() AS lease_over, deadline_at <= now() AS deadline_over, not_before > now() AS resting,
            (extract(epoch FROM lease_until) * 1000000)::bigint AS leased_until,
            (extract(epoch FROM lookup_begun_at) * 1000000)::bigint AS begun,
            (extract(epoch FROM settle_at) * 1000000)::bigint AS settles,
            (extract(epoch FROM first_empty_at) * 1000000)::bigint AS first_empty
        FROM jobs ORDER BY id) j)::text AS jobs,
    (SELECT json_agg(to_json(s)) FROM (
        SELECT *, (extract(epoch FROM created_at) * 1000000)::bigint AS intended
        FROM submissions ORDER BY created_at, intent_id) s)::text AS submissions,
    (SELECT json_agg(to_json(e)) FROM (
        SELECT *, (extract(epoch FROM at) * 1000000)::bigint AS at_us FROM job_events ORDER BY job_id, version) e)::text AS events,
    (SELECT to_json(l) FROM (SELECT *, coalesce(paused_until > now(), false) AS paused FROM lanes) l)::text AS lane,
    (extract(epoch FROM now()) * 1000000)::bigint AS read_at
"""


@dataclass(frozen=True)
class Snapshot:
    """What was there. Rows are dicts of their columns; ids are strings."""

    jobs: dict[str, Row]
    submissions: dict[str, Row]
    """By intent."""
    events: dict[str, list[Row]]
    """By job, in the order of their versions."""
    lane: Row
    read_at: int
    """When, in microseconds."""

    def of(self, job_id: str) -> list[Row]:
        """The submissions of a job."""
        return [row for row in self.submissions.values() if row["job_id"] == job_id]

    def unknown_for(self, job_id: str) -> float:
        """For how many seconds its create's outcome has not been known, by its history."""
        if self.jobs[job_id]["state"] != State.UNKNOWN:
            return 0.0
        became = max(event["at_us"] for event in self.events[job_id] if event["from_state"] != State.UNKNOWN)
        return (self.read_at - became) / 1e6

    def as_modelled(self, job_id: str, empty_before: bool = False) -> Job:
        """A job as the model knows it."""
        row = self.jobs[job_id]
        return Job(
            state=row["state"],
            epoch=row["epoch"],
            leased=row["lease_worker"] is not None,
            attempts=row["attempt"],
            intent=row["intent_id"],
            prediction=row["prediction_id"] or NONE,
            end_asked=row["cancel_reason"] or "",
            empty_before=empty_before,
        )


async def read(database: Database) -> Snapshot:
    """Reads it; the clock ticks once it is read."""
    row = (await database.fetch(_SQL))[0]
    jobs, submissions, events = ([] if row[name] is None else orjson.loads(row[name]) for name in ("jobs", "submissions", "events"))
    by_job: dict[str, list[Row]] = {job["id"]: [] for job in jobs}
    for event in events:
        by_job[event["job_id"]].append(event)
    return Snapshot(
        {job["id"]: job for job in jobs},
        {one["intent_id"]: one for one in submissions},
        by_job,
        orjson.loads(row["lane"]),
        row["read_at"],
    )


def check(now: Snapshot) -> None:
    """What is true of every row, whatever happened."""
    for job_id, job in now.jobs.items():
        _check_history(job, now.events[job_id])
        _check_row(job, now)
    bound = Counter(job["prediction_id"] for job in now.jobs.values() if job["prediction_id"])
    assert all(count == 1 for count in bound.values()), f"a prediction is bound to two jobs: {bound}"


def _check_history(job: Row, events: list[Row]) -> None:
    versions = [event["version"] for event in events]
    assert versions == [*range(1, job["version"] + 1)], "a version without an event"  # no heartbeat here tells of progress
    assert events[0]["from_state"] is None
    for earlier, later in pairwise(events):
        assert later["from_state"] == earlier["to_state"], "the history has a gap"
        assert later["epoch"] >= earlier["epoch"], "the epoch went back"
    ends = [event for event in events if event["to_state"] in FINAL]
    assert ends in ([], events[-1:]), "an event after the final one"
    last = events[-1]
    assert (last["to_state"], last["epoch"]) == (job["state"], job["epoch"]), "the row is not what its history says"


def _check_row(job: Row, now: Snapshot) -> None:
    state, leased = job["state"], job["lease_worker"] is not None
    assert leased or state not in LEASED, f"{state} without a lease"
    assert not (leased and state in UNLEASED), f"{state} with a lease"
    waits = state == State.QUEUED or (state in (State.SUBMITTED, State.UNKNOWN) and not leased)
    assert (job["next_dispatch_at"] is not None) == waits, f"{state}, and rung for: {job['next_dispatch_at']}"
    assert (job["intent_id"] is None) or state not in (State.QUEUED, State.CLAIMED)
    if state in (State.SUBMITTING, State.UNKNOWN):
        intended = now.submissions[job["intent_id"]]["intended"]
        assert job["settles"] == intended + SETTLE, "the settle time is not its intent's"
        assert job["first_empty"] is None or job["first_empty"] > intended, "an empty look-up of an earlier intent counts"
    if state in (State.SUBMITTED, State.SUCCEEDED):
        assert now.submissions[job["intent_id"]]["prediction_id"] == job["prediction_id"], "its prediction is not its intent's"
        assert job["claims"] == 0, "there was progress, and its claims count on"
    submissions = now.of(job["id"])
    counted = sum(one["state"] not in GIVEN_BACK for one in submissions)
    orphans = sum(one["state"] == "orphan_canceled" for one in submissions)
    most = counted + (orphans if state in FINAL else 0)  # an orphan of a job that failed as unknown had counted
    assert counted <= job["attempt"] <= most, f"{job['attempt']} attempts, and {counted} submissions that count"
    assert job["attempt"] <= job["max_attempts"]
    live = [one for one in submissions if one["state"] in ("intent", "created", "unknown")]
    assert len(live) <= 1, "two submissions of one job are open"
    assert live == [] or state in (State.SUBMITTING, State.SUBMITTED, State.UNKNOWN, State.FAILED)


def check_step(before: Snapshot, after: Snapshot) -> None:
    """What is true of every change."""
    for job_id, old in before.jobs.items():
        new = after.jobs[job_id]
        assert new["epoch"] >= old["epoch"] and new["version"] >= old["version"]
        assert new["state"] == old["state"] or new["version"] > old["version"]
        if new["leased_until"] not in (None, old["leased_until"]):
            left = new["leased_until"] - after.read_at
            assert LEASE / 2 < left <= LEASE, f"a lease of {left / 1e6:g} s"
        if old["state"] in FINAL:
            kept = {"deadline_over", "resting"}
            assert {**new, **dict.fromkeys(kept)} == {**old, **dict.fromkeys(kept)}, "a final row was changed"
        assert after.events[job_id][: len(before.events[job_id])] == before.events[job_id], "the history was rewritten"
