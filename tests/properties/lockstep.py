"""What the model says of a report to the real store: it decides on the same rows, and both must come to the same."""

from jobs.store import Report
from jobs.timing import Timing
from model.rules import Rules
from model.service import NONE, Answer, Facts, Service
from model.service import Report as Modelled
from properties.snapshot import Snapshot

GAP = int(Timing().lookup_gap * 1_000_000)
SERVICES = {marked: Service(Rules(max_attempts=4, marked=marked)) for marked in (False, True)}
"""By whether a look-up found what is marked as its own."""


def expected(before: Snapshot, report: Report) -> Answer:
    """The model's answer to this report."""
    job_id, ids = str(report.job_id), (report.prediction_ids or "").split(",") if report.prediction_ids else []
    row = before.jobs[job_id]
    intent = str(report.intent_id) if report.intent_id else None
    own = before.submissions.get(intent or row["intent_id"] or "", {})
    owners = {one["prediction_id"]: one for one in before.submissions.values() if one["prediction_id"]}
    foreign = [one for one in ids if one in owners and owners[one]["intent_id"] != (intent or row["intent_id"])]
    bindable = next((one for one in ids if one not in foreign), NONE) if report.verb in ("created", "found") else NONE
    begun = report.lookup_begun_at or row["begun"] or 0
    facts = Facts(
        bindable,
        taken_since=report.verb == "found" and any(_bound_since(before, owners[one]["job_id"], begun) for one in foreign),
        equal_open=any(
            other["fingerprint"] == row["fingerprint"] and other["state"] in ("submitting", "unknown")
            for other in before.jobs.values()
        ),
        submission=_submission(before, report, intent),
        reporter_leads=row["lease_worker"] == str(report.worker),
        crash_loop=row["claims"] >= 8,
        orphaned=own.get("state") == "orphan_canceled" and own["prediction_id"] in ids,
        recorded=own.get("prediction_id") is not None,
        deadline_passed=row["deadline_over"],
    )
    empty_before = row["first_empty"] is not None and row["first_empty"] <= begun - GAP
    shown = Modelled(report.verb, report.epoch or 0, intent, ids[0] if ids else NONE, settled=begun >= (row["settles"] or 0))
    return SERVICES[bool(report.marked)].decide(before.as_modelled(job_id, empty_before), shown, facts)


def same(answer: Answer, after: Snapshot, job_id: str) -> bool:
    """Whether the real row is what the model made of it. What a look-up leaves behind is told by the next report."""
    real = after.as_modelled(job_id)
    return answer.job._replace(settled=False, empty_before=False, result=None) == real


def _bound_since(before: Snapshot, job_id: str, begun: int) -> bool:
    return any(
        event["to_state"] == "submitted" and event["from_state"] in ("submitting", "unknown") and event["at_us"] > begun
        for event in before.events[job_id]
    )


def _submission(before: Snapshot, report: Report, intent: str | None) -> str:
    if report.verb in ("retry", "fail", "aborted", "canceled"):
        found = [one for one in before.submissions.values() if one["prediction_id"] == report.prediction_ids]
        return found[0]["state"] if found else ""
    return before.submissions[intent]["state"] if intent in before.submissions else ""
