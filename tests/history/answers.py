"""I7 and I8: a repeated request makes no second job, and what clients are told of a job only moves forward."""

import itertools
from collections.abc import Iterator

from history.evidence import FINAL_STATUSES, STATUS, Evidence, Row, Violation, by_job


def one_job_a_key(evidence: Evidence) -> Iterator[Violation]:
    """I7: an Idempotency-Key leads to one job, a job comes from one key, and it asks for what the client asked for."""
    creates = [note for note in evidence.told if note["kind"] == "create"]
    jobs = {job["id"]: job for job in evidence.jobs}
    answers: dict[tuple[str, str], set[str]] = {}
    for note in creates:
        if note["status"] == 202:
            answers.setdefault((note["tenant"], note["key"]), set()).add(note["job"])
            job = jobs.get(note["job"])
            if job and job["prompt"] != note["prompt"]:
                yield Violation("I7", f"a client asked for {note['prompt'][:60]!r} and got a job for another prompt", (job["id"],))
    for (_, key), ids in answers.items():
        if len(ids) > 1:
            yield Violation("I7", f"the key {key} was answered with {len(ids)} jobs", tuple(sorted(ids)))
    sent = {(note["tenant"], note["key"]) for note in creates}
    by_id: dict[str, list[Row]] = {}
    for row in evidence.keys:
        by_id.setdefault(row["job_id"], []).append(row)
        told = answers.get((row["tenant"], row["key"]), set())
        if told - {row["job_id"]}:
            what = f"the key {row['key']} is recorded with another job than it was answered with"
            yield Violation("I7", what, (row["job_id"], *sorted(told - {row["job_id"]})))
        if (row["tenant"], row["key"]) not in sent:
            yield Violation("I7", f"nobody sent the key {row['key']}", (row["job_id"],))
    for job_id in jobs:
        if len(by_id.get(job_id, [])) != 1:
            yield Violation("I7", f"a job is recorded with {len(by_id.get(job_id, []))} keys", (job_id,))


def in_order(evidence: Evidence) -> Iterator[Violation]:
    """I8: versions that one reader sees never go back, each was true when it was told, and the final one arrived."""
    jobs = {job["id"]: job for job in evidence.jobs}
    events = by_job(evidence.events)
    notes: dict[str, list[Row]] = {}
    for note in evidence.told:
        if note.get("version"):
            notes.setdefault(note["job"], []).append(note)
    for job_id, mine in notes.items():
        yield from _forward(job_id, [note for note in mine if note["kind"] != "watch"])
        yield from _streams(job_id, [note for note in mine if note["kind"] == "watch"])
        if job_id in jobs:
            history = sorted(events.get(job_id, []), key=lambda event: event["version"])
            for note in mine:
                yield from _true(jobs[job_id], history, note)
    for job_id, job in jobs.items():
        if job["finished_at"] and job_id in notes and not any(note["job_status"] in FINAL_STATUSES for note in notes[job_id]):
            yield Violation("I8", "no client was told how a job ended", (job_id,))


def _forward(job_id: str, notes: list[Row]) -> Iterator[Violation]:
    """A request that was sent after another was answered shows the same version or a later one."""
    done = sorted(notes, key=lambda note: note["ended"])
    newest, place = 0, 0
    for note in sorted(notes, key=lambda note: note["began"]):
        while place < len(done) and done[place]["ended"] <= note["began"]:
            newest = max(newest, done[place]["version"])
            place += 1
        if note["version"] < newest:
            yield Violation("I8", f"version {newest} was told, and later version {note['version']}", (job_id,))


def _streams(job_id: str, notes: list[Row]) -> Iterator[Violation]:
    """Within one watch every version is later than the one before, and a stream that ended by itself ended with a final one."""
    streams: dict[int, list[Row]] = {}
    for note in notes:
        streams.setdefault(note["stream"], []).append(note)
    for stream in streams.values():
        versions = [note["version"] for note in stream]
        if any(later <= earlier for earlier, later in itertools.pairwise(versions)):
            yield Violation("I8", f"a watch showed the versions {versions}", (job_id,))
        if any(note["job_status"] in FINAL_STATUSES for note in stream[:-1]):
            yield Violation("I8", "a watch went on after a final version", (job_id,))
        if stream[-1].get("closed") and stream[-1]["job_status"] not in FINAL_STATUSES:
            yield Violation("I8", f"a watch was closed at version {versions[-1]}, which is not final", (job_id,))


def _true(job: Row, history: list[Row], note: Row) -> Iterator[Violation]:
    """The status that was told with a version is that of the last event up to it."""
    if note["version"] > job["version"]:
        yield Violation("I8", f"version {note['version']} was told of a job at version {job['version']}", (job["id"],))
        return
    state = next((event["to_state"] for event in reversed(history) if event["version"] <= note["version"]), None)
    if state is None or STATUS[state] != note["job_status"]:
        what = f"{note['job_status']} was told at version {note['version']}, when the job was {state}"
        yield Violation("I8", what, (job["id"],))
