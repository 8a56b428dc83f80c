"""I5 and I10: what a completed job promises lies in the bucket, byte for byte, and nothing lies there that no job explains."""

import re
from collections.abc import Iterator

from history.evidence import Evidence, Row, Violation

KEY = re.compile(r"out/(?P<job>[0-9a-f-]{36})/(?P<epoch>\d+)/\d+\.[a-z0-9]+")
PROBE = "probe/"
"""What generators write to learn whether the bucket takes writes."""


def bytes_as_made(evidence: Evidence) -> Iterator[Violation]:
    """I5: every output of a succeeded job exists, and row, bucket, provider and readers agree on its sha256."""
    objects = {row["key"]: row for row in evidence.objects}
    made = {prediction["id"]: prediction["files"] for prediction in evidence.ledger["predictions"]}
    read: dict[tuple[str, int], list[Row]] = {}
    for note in evidence.told:
        if note["kind"] == "media":
            read.setdefault((note["job"], note["index"]), []).append(note)
    for job in evidence.jobs:
        if job["state"] != "succeeded":
            continue
        files = [output for output in job["outputs"] if output["object_key"]]
        if not job["outputs"]:
            yield Violation("I5", "a job succeeded without an output", (job["id"],))
        sent = {file["sha256"] for file in made.get(job["prediction_id"], {}).values()}
        for output in files:
            yield from _stored(job["id"], output, objects.get(output["object_key"]), sent)
            for note in read.get((job["id"], output["index"]), []):
                if note["status"] == 200 and note["sha256"] != output["sha256"]:
                    yield Violation("I5", f"a client read other bytes of output {output['index']}", (job["id"],))
                elif note["status"] not in (200, 503, None):
                    yield Violation("I5", f"a client who read output {output['index']} got {note['status']}", (job["id"],))
        if missing := sent - {output["sha256"] for output in files}:
            yield Violation("I5", f"{len(missing)} files that the provider sent are no output of the job", (job["id"],))
    yield from _as_told(evidence)


def _stored(job_id: str, output: Row, found: Row | None, sent: set[str]) -> Iterator[Violation]:
    name = output["object_key"]
    if found is None:
        yield Violation("I5", f"{name} does not exist", (job_id,))
        return
    if found["size"] != output["size"]:
        yield Violation("I5", f"{name} has {found['size']} bytes instead of {output['size']}", (job_id,))
    if found["sha256"] != output["sha256"]:
        yield Violation("I5", f"the bytes of {name} are not those of its sha256", (job_id,))
    if output["sha256"] not in sent:
        yield Violation("I5", f"the provider never sent the bytes of {name}", (job_id,))


def _as_told(evidence: Evidence) -> Iterator[Violation]:
    """The sha256 that clients were told are those of the rows."""
    rows = {job["id"]: job for job in evidence.jobs}
    for note in evidence.told:
        job = rows.get(note.get("job"))
        if job is None or note.get("job_status") != "completed":
            continue
        if note["outputs"] != [[output["index"], output["sha256"] or None] for output in job["outputs"] or []]:
            yield Violation("I5", "a client was told another sha256 than that of the row", (job["id"],))


def explained(evidence: Evidence) -> Iterator[Violation]:
    """I10: each object was written for a job that exists, in an epoch that it had: those of superseded epochs are explained."""
    epochs = {job["id"]: job["epoch"] for job in evidence.jobs}
    for row in evidence.objects:
        if row["key"].startswith(PROBE):
            continue
        match = KEY.fullmatch(row["key"])
        if match is None:
            yield Violation("I10", f"the object {row['key']} has a name that no job gives")
        elif match["job"] not in epochs:
            yield Violation("I10", f"the object {row['key']} belongs to no job", (match["job"],))
        elif not 1 <= int(match["epoch"]) <= epochs[match["job"]]:
            yield Violation("I10", f"the object {row['key']} is of an epoch that its job never had", (match["job"],))
