"""How long it took, from the history alone: for work of killed generators to move on, for lost creates to be resolved."""

from collections.abc import Iterable
from dataclasses import dataclass

from chaos.soak.storm import Struck
from history.evidence import FINAL_STATES, Evidence, Row, by_job

TAKES = {"claim", "begin", "attach", "reconcile", "created", "found"}
"""Transitions after which the event's actor holds the job."""
KEEPS = {"intend", "look_again", "cancel", "give_up"}
"""Transitions that leave it with whoever held it."""


ON_THE_WAY = frozenset({"jobs", "postgresql", "generators → jobs", "jobs → PostgreSQL"})
"""What has to work for a job to move on at all."""
LOOKED_UP = ON_THE_WAY | {"generators", "generators → Replicate", "rule read_answer", "rule read_slow", "rule read_reset"}
"""What has to work for a lost create to be looked up."""
ACCEPTED = ON_THE_WAY | {"gateway", "gateway → jobs"}
"""What has to work for a job to be accepted."""
CLAIMED = ACCEPTED | {"s3", "generators → S3", "rule create_answer"}
"""What has to work for a job to be claimed: no create is granted while the bucket takes nothing, or while the account is paused."""
AFTERMATH = 5.0
"""Seconds after a fault in which connections are made anew."""


@dataclass(frozen=True)
class Wait:
    """One job that had to wait."""

    job: str
    state: str
    seconds: float
    net: float
    """Without the time in which other faults stood in the way."""


def waits_after_kills(evidence: Evidence, struck: list[Struck]) -> list[Wait]:
    """For each SIGKILL of a generator and each job that it held: how long until another one held it, or it was queued again."""
    events = by_job(evidence.events)
    waits = []
    for kill in struck:
        if kill.grant is None:
            continue
        worker = _worker(events, kill.grant)
        others = _spans([one for one in struck if one is not kill], ON_THE_WAY)
        for job_id, history in events.items():
            before = [event for event in history if event["at"] <= kill.began]
            if not before or _holder(before) != worker:
                continue
            moved = next((event["at"] for event in history[len(before) :] if _moves(event, worker)), None)
            if moved is not None:
                gross = moved - kill.began
                waits.append(Wait(job_id, before[-1]["to_state"], gross, gross - overlap(kill.began, moved, others)))
    return waits


def waits_of_lost_creates(evidence: Evidence, struck: list[Struck]) -> list[Wait]:
    """How long each create whose outcome was unknown stayed so."""
    faults = _spans(struck, LOOKED_UP)
    waits = []
    for job_id, history in by_job(evidence.events).items():
        since = None
        for event in history:
            if event["to_state"] == "unknown":
                since = event["at"] if since is None else since
            elif since is not None:
                gross = event["at"] - since
                waits.append(Wait(job_id, event["to_state"], gross, gross - overlap(since, event["at"], faults)))
                since = None
    return waits


def lives(evidence: Evidence) -> list[float]:
    """Seconds from acceptance to completion, of each job that was completed."""
    return [job["finished_at"] - job["created_at"] for job in evidence.jobs if job["state"] == "succeeded"]


def waits_until_back(moments: list[float], group: str, struck: list[Struck], needed: frozenset[str]) -> list[Wait]:
    """For each fault of a group: how long after its end the first of these moments was, for which `needed` has to work."""
    waits = []
    for one in struck:
        if not one.fault.group.startswith(f"{group}: ") or one.ended is None:
            continue
        first = min((moment for moment in moments if moment >= one.ended), default=None)
        if first is not None:
            others = _spans([other for other in struck if other is not one], needed)
            waits.append(Wait(group, "", first - one.ended, first - one.ended - overlap(one.ended, first, others)))
    return waits


def overlap(begin: float, end: float, spans: Iterable[tuple[float, float]]) -> float:
    """How much of the time from `begin` to `end` these spans cover together."""
    covered, reached = 0.0, begin
    for start, stop in sorted(spans):
        start, stop = max(start, reached), min(stop, end)
        if stop > start:
            covered += stop - start
            reached = stop
    return covered


def percentile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that this share of them does not exceed; None where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def _spans(struck: list[Struck], needed: frozenset[str]) -> list[tuple[float, float]]:
    """When something of what is needed was broken, from the fault to the end of its aftermath."""
    return [(one.began, (one.ended or one.began) + AFTERMATH) for one in struck if one.fault.occupies & needed]


def _worker(events: dict[str, list[Row]], grant: tuple[str, int]) -> str | None:
    job_id, epoch = grant
    taken = (event for event in events.get(job_id, []) if event["epoch"] == epoch and _verb(event) in TAKES)
    return next((event["actor"] for event in taken), None)


def _holder(history: list[Row]) -> str | None:
    """Who held the job after these events; None where nobody did."""
    holder = None
    for event in history:
        if _verb(event) in TAKES:
            holder = event["actor"]
        elif _verb(event) not in KEEPS or event["to_state"] in FINAL_STATES:
            holder = None
    return holder


def _moves(event: Row, worker: str | None) -> bool:
    """Whether the job moves on: another worker holds it, it is queued again, or it has ended."""
    if event["to_state"] == "queued" or event["to_state"] in FINAL_STATES:
        return True
    return _verb(event) in TAKES and event["actor"] != worker


def _verb(event: Row) -> str:
    return str(event["reason"]).partition(":")[0]
