"""I9 and I11: once all is done nothing is left lying about, and nothing that is secret was written down."""

import base64
from collections import Counter
from collections.abc import Iterator
from uuid import UUID

from google.protobuf.message import DecodeError

from history.evidence import FINAL_STATES, Evidence, Violation
from mediagen.jobs.v1.ready_pb2 import JobsReady

DEAD = ".dead"


def nothing_left(evidence: Evidence) -> Iterator[Violation]:
    """I9: queues are empty and consumed, every job is final and nobody holds it, and dead letters are bells of known jobs."""
    for job in evidence.jobs:
        if job["state"] not in FINAL_STATES:
            yield Violation("I9", f"a job is still {job['state']}", (job["id"],))
        if job["lease_worker"] is not None:
            yield Violation("I9", f"a job is still held by worker {job['lease_worker']}", (job["id"],))
    live = [queue for queue in evidence.queues if not queue["name"].endswith(DEAD)]
    if not live:
        yield Violation("I9", "the queue is gone")
    for queue in live:
        if queue["ready"] or queue["unacked"]:
            yield Violation("I9", f"{queue['name']} holds {queue['ready']} messages, and {queue['unacked']} that nobody acked")
        if queue["consumers"] != evidence.consumers:
            yield Violation("I9", f"{queue['name']} has {queue['consumers']} consumers, and {evidence.consumers} generators run")
    states = {job["id"]: job["state"] for job in evidence.jobs}
    for queue in evidence.queues:
        for body in queue["bodies"]:
            yield from _dead_letter(queue["name"], base64.b64decode(body), states)


def _dead_letter(queue: str, body: bytes, states: dict[str, str]) -> Iterator[Violation]:
    try:
        ids = [str(UUID(job_id)) for job_id in JobsReady.FromString(body).job_ids]
    except (DecodeError, ValueError):
        yield Violation("I9", f"{queue} holds a message that is none of ours: {body[:60]!r}")
        return
    for job_id in ids:
        if job_id not in states:
            yield Violation("I9", f"{queue} holds a bell for a job that does not exist", (job_id,))


def nothing_told(evidence: Evidence) -> Iterator[Violation]:
    """I11: no secret and no prompt is in the logs, or in what RabbitMQ carries."""
    if not evidence.logs_read:
        yield Violation("I11", "no log was searched")
    for (where, what), times in Counter((leak["where"], leak["what"]) for leak in evidence.leaks).items():
        line = next(leak["line"] for leak in evidence.leaks if (leak["where"], leak["what"]) == (where, what))
        yield Violation("I11", f"{where} holds {what}, {times} times: {line}")
