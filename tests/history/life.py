"""I1, I2 and I6: each accepted job ends once, nothing happens to it afterwards, and its history is one unbroken chain."""

from collections.abc import Iterator

from history.evidence import FINAL_STATES, FINAL_STATUSES, STATUS, Evidence, Row, Violation, by_job

STEPS = {
    (None, "queued"),
    *[("queued", to) for to in ("claimed", "submitting", "failed", "canceled")],
    *[("claimed", to) for to in ("claimed", "queued", "submitting", "failed", "canceled")],
    *[("submitting", to) for to in ("submitting", "queued", "unknown", "submitted", "failed", "canceled")],
    *[("unknown", to) for to in ("unknown", "queued", "submitted", "failed", "canceled")],
    *[("submitted", to) for to in ("submitted", "queued", "succeeded", "failed", "canceled")],
}
"""From which state a job may come to which."""

CLAIMS = {"claim", "begin", "attach", "reconcile"}
"""The transitions that raise the epoch, by one; no other does."""


def ends_once(evidence: Evidence) -> Iterator[Violation]:
    """I1: every job that was answered with 202 is there, and has exactly one event that ended it."""
    jobs = {job["id"]: job for job in evidence.jobs}
    events = by_job(evidence.events)
    if not jobs:
        yield Violation("I1", "there is no job to decide on")
    told_final = {note["job"]: note for note in evidence.told if note.get("job_status") in FINAL_STATUSES}
    for job_id in {note["job"] for note in evidence.told if note["kind"] == "create" and note["status"] == 202} - jobs.keys():
        yield Violation("I1", "a job that was answered with 202 does not exist", (job_id,))
    for job_id, job in jobs.items():
        ends = [event for event in events.get(job_id, []) if event["to_state"] in FINAL_STATES]
        if len(ends) != 1:
            yield Violation("I1", f"a job has {len(ends)} final events", (job_id,))
        elif ends[0]["to_state"] != job["state"]:
            yield Violation("I1", f"a job is {job['state']}, and its final event says {ends[0]['to_state']}", (job_id,))
        if (job["finished_at"] is not None) != (job["state"] in FINAL_STATES):
            yield Violation("I1", f"a job is {job['state']}, and was finished at {job['finished_at']}", (job_id,))
        note = told_final.get(job_id)
        if note and note["job_status"] != STATUS[job["state"]]:
            yield Violation("I1", f"a client was told {note['job_status']} of a job that is {job['state']}", (job_id,))


def nothing_after_the_end(evidence: Evidence) -> Iterator[Violation]:
    """I2: no event follows a final one, and whoever was told of an end is told the same for ever."""
    for job_id, events in by_job(evidence.events).items():
        ended = False
        for event in sorted(events, key=lambda event: event["version"]):
            if ended:
                yield Violation("I2", f"`{event['reason']}` happened at version {event['version']}, after the end", (job_id,))
            ended = ended or event["to_state"] in FINAL_STATES
    ends = {event["job_id"]: event for event in evidence.events if event["to_state"] in FINAL_STATES}
    for job in evidence.jobs:
        end = ends.get(job["id"])
        if end and job["version"] != end["version"]:
            yield Violation("I2", f"a job ended at version {end['version']} and is at {job['version']}", (job["id"],))
    shown: dict[str, Row] = {}
    for note in sorted((note for note in evidence.told if note.get("version")), key=lambda note: note["ended"]):
        first = shown.get(note["job"])
        if (
            first
            and note["began"] >= first["ended"]
            and any(note.get(name) != first.get(name) for name in ("job_status", "version", "outputs"))
        ):
            yield Violation(
                "I2",
                f"a client was told {first['job_status']} at version {first['version']}, "
                f"and later {note['job_status']} at version {note['version']}",
                (note["job"],),
            )
        if first is None and note["job_status"] in FINAL_STATUSES:
            shown[note["job"]] = note


def one_chain(evidence: Evidence) -> Iterator[Violation]:
    """I6: versions and epochs only grow, each event begins where the one before it ended, and the row is where the last one led."""
    events = by_job(evidence.events)
    for job in evidence.jobs:
        chain = sorted(events.get(job["id"], []), key=lambda event: event["version"])
        yield from _links(job["id"], chain)
        if not chain:
            yield Violation("I6", "a job has no history", (job["id"],))
        elif (job["state"], job["epoch"]) != (chain[-1]["to_state"], chain[-1]["epoch"]) or job["version"] < chain[-1]["version"]:
            what = (
                f"a job is {job['state']} in epoch {job['epoch']} at version {job['version']}, which its history does not lead to"
            )
            yield Violation("I6", what, (job["id"],))
        for output in (job["outputs"] or []) if job["state"] == "succeeded" else []:
            if output["object_key"] and not output["object_key"].startswith(f"out/{job['id']}/{job['epoch']}/"):
                what = f"a job of epoch {job['epoch']} succeeded with the object {output['object_key']}"
                yield Violation("I6", what, (job["id"],))


def _links(job_id: str, chain: list[Row]) -> Iterator[Violation]:
    before: Row = {"version": 0, "to_state": None, "epoch": 0}
    for event in chain:
        verb = event["reason"].partition(":")[0]
        at = f"at version {event['version']} (`{event['reason']}`)"
        if event["version"] <= before["version"]:
            yield Violation("I6", f"the version did not grow {at}", (job_id,))
        if event["epoch"] != before["epoch"] + (verb in CLAIMS):
            yield Violation("I6", f"the epoch went from {before['epoch']} to {event['epoch']} {at}", (job_id,))
        if event["from_state"] != before["to_state"]:
            yield Violation("I6", f"the job was {before['to_state']}, and left {event['from_state']} {at}", (job_id,))
        if (event["from_state"], event["to_state"]) not in STEPS and before["to_state"] not in FINAL_STATES:
            yield Violation("I6", f"no job may go from {event['from_state']} to {event['to_state']} {at}", (job_id,))
        before = event
