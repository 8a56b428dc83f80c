"""The verdict in words: what was looked at, a line for each invariant, and the history of each job that breaks one."""

from collections import Counter
from collections.abc import Iterator

from history.checker import INVARIANTS
from history.evidence import Evidence, Row, Violation

SHOWN = 5
"""Violations of one invariant that are shown."""

JOBS_SHOWN = 5
"""Jobs whose history is shown."""


def verdict(evidence: Evidence, violations: list[Violation]) -> Iterator[str]:
    """Line by line."""
    yield from looked_at(evidence)
    yield ""
    for invariant, (meaning, _) in INVARIANTS.items():
        mine = [violation for violation in violations if violation.invariant == invariant]
        yield f"{invariant:<4} {meaning}: {f'VIOLATED {len(mine)} times' if mine else 'holds'}"
        for violation in mine[:SHOWN]:
            yield f"       {violation.what}" + (f" [{', '.join(violation.jobs[:SHOWN])}]" if violation.jobs else "")
    shown = list(dict.fromkeys(job_id for violation in violations for job_id in violation.jobs[:1]))[:JOBS_SHOWN]
    for job_id in shown:
        yield ""
        yield from history(evidence, job_id)


def looked_at(evidence: Evidence) -> Iterator[str]:
    """How much there was to look at."""
    states = Counter(job["state"] for job in evidence.jobs)
    kinds = Counter(note["kind"] for note in evidence.told)
    yield f"jobs         {len(evidence.jobs)}: " + ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    yield f"answers      {len(evidence.told)}: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    yield f"events       {len(evidence.events)}, submissions {len(evidence.submissions)}, keys {len(evidence.keys)}"
    ends = Counter(prediction["status"] for prediction in evidence.ledger.get("predictions", []))
    yield f"predictions  {sum(ends.values())}: " + ", ".join(f"{count} {status}" for status, count in sorted(ends.items()))
    yield f"objects      {len(evidence.objects)}, {sum(row['size'] for row in evidence.objects)} bytes"
    yield "queues       " + ", ".join(f"{row['name']}: {row['ready']} ready, {row['unacked']} unacked" for row in evidence.queues)
    yield f"logs         {evidence.logs_read} bytes searched; vitals: {len(evidence.vitals)} samples"


def history(evidence: Evidence, job_id: str) -> Iterator[str]:
    """Everything that is known of one job, in the order of time."""
    job = next((job for job in evidence.jobs if job["id"] == job_id), None)
    if job is None:
        yield f"job {job_id}: no such row"
    else:
        how = f"{job['state']} in epoch {job['epoch']}, {job['error_code'] or 'no error'}"
        yield f"job {job_id}: {how}, prompt {job['prompt'][:60]!r}"
    lines = list(_moments(evidence, job_id))
    start = min((at for at, _ in lines), default=0.0)
    for at, line in sorted(lines):
        yield f"  {at - start:9.3f} s  {line}"
    for row in evidence.submissions:
        if row["job_id"] == job_id:
            how = f"{row['state']}, prediction {row['prediction_id']}, {row['error_code']}"
            yield f"  attempt {row['attempt']} in epoch {row['epoch']}: {how}"
    for prediction in evidence.ledger.get("predictions", []):
        if job is not None and prediction["prompt"] == job["prompt"]:
            when = f"{prediction['created_at']} to {prediction['completed_at']}"
            how = f"answered: {prediction['answered']}, faults: {prediction['faults']}"
            yield f"  prediction {prediction['id']}: {prediction['status']}, {when}, {how}"
    for row in evidence.objects:
        if job_id in row["key"]:
            yield f"  object {row['key']}: {row['size']} bytes"


def _moments(evidence: Evidence, job_id: str) -> Iterator[tuple[float, str]]:
    for event in evidence.events:
        if event["job_id"] == job_id:
            step = f"{event['from_state']} → {event['to_state']}"
            yield event["at"], f"v{event['version']} e{event['epoch']} {step} ({event['reason']}) by {event['actor']}"
    told: Row = {}
    for note in evidence.told:
        if note.get("job") != job_id:
            continue
        news = (note["kind"], note.get("status"), note.get("version"))
        if news != told.get("news"):  # the same answer many times in a row is shown once
            yield (
                note["ended"],
                f"told: {note['kind']} {note.get('status') or 'no answer'}, v{note.get('version')} {note.get('job_status')}",
            )
        told["news"] = news
