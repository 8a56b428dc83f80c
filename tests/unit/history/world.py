"""A small synthetic history in which all is well: eight jobs that went through what jobs go through."""

import base64
import hashlib
from datetime import UTC, datetime
from uuid import UUID

from history.evidence import STATUS, Evidence, Row
from mediagen.jobs.v1.ready_pb2 import JobsReady

START = 1_800_000_000.0
MODEL = "black-forest-labs/flux-schnell"
FINAL = ("succeeded", "failed", "canceled")
QUEUE = "mediagen.jobs.v1.JobsReady"

PLAIN, KILLED, RETRIED, LOST, CANCELED, TWIN, OTHER_TWIN, REPEATED = (str(UUID(int=number)) for number in range(1, 9))
"""A job that went well; one whose generator died; one whose first prediction failed; one whose create was lost and found; one
that was canceled at work; two that ask for the same; one whose create was sent twice."""


class World:
    """Builds the evidence job by job, with a clock that the test owns."""

    def __init__(self) -> None:
        self.evidence = Evidence(
            ledger={"creates": 0, "predictions": []},
            queues=[
                {"name": QUEUE, "ready": 0, "unacked": 0, "consumers": 2, "bodies": []},
                {"name": f"{QUEUE}.dead", "ready": 0, "unacked": 0, "consumers": 0, "bodies": []},
            ],
            consumers=2,
            logs_read=1000,
        )
        self.now = START

    def accept(self, job_id: str, prompt: str, key: str = "") -> None:
        key = key or f"key-of-{job_id}"
        self.evidence.jobs.append(
            {
                "id": job_id, "prompt": prompt, "model": MODEL, "state": "queued", "version": 1, "epoch": 0, "lease_worker": None,
                "attempt": 0, "max_attempts": 4, "prediction_id": None, "outputs": None, "error_code": None, "finished_at": None,
            }
        )  # fmt: skip
        self.evidence.keys.append({"tenant": "tests", "key": key, "job_id": job_id})
        self._event(job_id, None, "queued", "accept")
        self.told("create", job_id, key=key, prompt=prompt, status=202)

    def step(self, job_id: str, to: str, verb: str) -> None:
        """One transition; a claim raises the epoch."""
        job = self.job(job_id)
        self.now += 0.1
        before, job["state"] = job["state"], to
        job["version"] += 1
        job["epoch"] += verb in ("claim", "begin", "attach", "reconcile")
        if to in FINAL:
            job["finished_at"] = self.now
        self._event(job_id, before, to, verb)

    def create(self, job_id: str, attempt: int = 1) -> None:
        """Claims it and asks for a prediction, which begins."""
        self.step(job_id, "submitting", "begin")
        job = self.job(job_id)
        job["attempt"] = attempt
        self.predict(f"p-{job_id[-2:]}-{attempt}", job["prompt"])
        self.evidence.submissions.append(
            {
                "job_id": job_id,
                "attempt": attempt,
                "epoch": job["epoch"],
                "state": "intent",
                "prediction_id": None,
                "error_code": None,
            }
        )

    def bind(self, job_id: str, verb: str = "created") -> None:
        submission = self.submission(job_id)
        submission |= {"state": "created", "prediction_id": f"p-{job_id[-2:]}-{submission['attempt']}"}
        self.job(job_id)["prediction_id"] = submission["prediction_id"]
        self.step(job_id, "submitted", verb)

    def predict(self, prediction_id: str, prompt: str) -> None:
        self.now += 0.1
        self.evidence.ledger["creates"] += 1
        self.evidence.ledger["predictions"].append(
            {
                "id": prediction_id, "model": MODEL, "prompt": prompt, "status": "processing", "created_at": iso(self.now),
                "completed_at": None, "answered": True, "faults": [], "files": {},
            }
        )  # fmt: skip

    def end(self, prediction_id: str, status: str) -> None:
        self.now += 0.1
        self.prediction(prediction_id).update(status=status, completed_at=iso(self.now))

    def complete(self, job_id: str) -> None:
        """The prediction succeeds, its file is stored, and the job is completed."""
        job, body = self.job(job_id), f"picture of {job_id}".encode()
        digest, key = hashlib.sha256(body).hexdigest(), f"out/{job_id}/{job['epoch']}/0.webp"
        self.end(job["prediction_id"], "succeeded")
        self.prediction(job["prediction_id"])["files"] = {"out-0.webp": {"size": len(body), "sha256": digest}}
        self.evidence.objects.append({"key": key, "size": len(body), "sha256": digest})
        job["outputs"] = [{"index": 0, "object_key": key, "size": len(body), "sha256": digest}]
        self.submission(job_id)["state"] = "succeeded"
        self.step(job_id, "succeeded", "complete")
        self.told("media", job_id, index=0, sha256=digest)

    def told(self, kind: str, job_id: str, **more: object) -> Row:
        """A client asks, and is told how the job is."""
        job = self.job(job_id)
        self.now += 0.1
        note = {"kind": kind, "job": job_id, "tenant": "tests", "status": 200, "began": self.now - 0.05, "ended": self.now}
        if kind != "media":
            outputs = [[output["index"], output["sha256"]] for output in job["outputs"] or []]
            note |= {"version": job["version"], "job_status": STATUS[job["state"]], "outputs": outputs}
        self.evidence.told.append(note | more)
        return self.evidence.told[-1]

    def job(self, job_id: str) -> Row:
        return next(job for job in self.evidence.jobs if job["id"] == job_id)

    def submission(self, job_id: str) -> Row:
        return [row for row in self.evidence.submissions if row["job_id"] == job_id][-1]

    def prediction(self, prediction_id: str) -> Row:
        return next(one for one in self.evidence.ledger["predictions"] if one["id"] == prediction_id)

    def events(self, job_id: str) -> list[Row]:
        return [event for event in self.evidence.events if event["job_id"] == job_id]

    def vital(self, part: str, rss: int, descriptors: int, connections: int, pid: int = 1) -> None:
        row = {"at": self.now, "part": part, "pid": pid, "rss": rss, "descriptors": descriptors, "connections": connections}
        self.evidence.vitals.append(row)

    def _event(self, job_id: str, before: str | None, to: str, reason: str) -> None:
        job = self.job(job_id)
        self.evidence.events.append(
            {"job_id": job_id, "version": job["version"], "at": self.now, "from_state": before, "to_state": to}
            | {"epoch": job["epoch"], "actor": "tests", "reason": reason}
        )


def iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def bell(*job_ids: str) -> str:
    """A message as RabbitMQ carries it, in base64."""
    return base64.b64encode(JobsReady(job_ids=job_ids).SerializeToString()).decode()


def clean() -> World:
    """The history in which every promise was kept."""
    world = World()
    for part in ("jobs", "gateway", "generator-1"):
        world.vital(part, 90 << 20, 30, 5)
    for job_id, prompt in (
        (PLAIN, "a plain fox"), (KILLED, "a killed fox"), (RETRIED, "a retried fox"), (LOST, "a lost fox"),
        (CANCELED, "a canceled fox"), (TWIN, "a twin fox"), (OTHER_TWIN, "a twin fox"),
    ):  # fmt: skip
        world.accept(job_id, prompt)
    _repeated(world)
    for job_id in (PLAIN, TWIN, OTHER_TWIN, REPEATED):
        world.create(job_id)
        world.bind(job_id)
        world.told("status", job_id)
        world.complete(job_id)
    _killed(world)
    _retried(world)
    _lost(world)
    _canceled(world)
    for job in world.evidence.jobs:
        world.told("status", job["id"])
        world.told("status", job["id"])
    for part in ("jobs", "gateway", "generator-1"):
        world.vital(part, 110 << 20, 40, 9)
    world.evidence.vitals.append(
        {"at": world.now, "part": "database", "sessions": 11, "in_transaction": 0, "oldest_transaction": 0.0}
    )
    world.evidence.queues[1]["bodies"] = [bell(PLAIN, KILLED)]
    return world


def _repeated(world: World) -> None:
    world.evidence.told.append(
        {"kind": "create", "key": "twice", "prompt": "a repeated fox", "tenant": "tests", "status": None}
        | {"began": world.now, "ended": world.now}
    )
    world.accept(REPEATED, "a repeated fox", key="twice")
    world.told("create", REPEATED, key="twice", prompt="a repeated fox", status=202)


def _killed(world: World) -> None:
    """Its generator dies while it stores the output; another attaches and stores it again."""
    world.create(KILLED)
    world.bind(KILLED)
    world.evidence.objects.append({"key": f"out/{KILLED}/1/0.webp", "size": 3, "sha256": "half"})
    world.step(KILLED, "submitted", "expire")
    world.step(KILLED, "submitted", "attach")
    world.told("watch", KILLED, stream=1)
    world.complete(KILLED)
    world.told("watch", KILLED, stream=1, closed=True)


def _retried(world: World) -> None:
    world.create(RETRIED)
    world.bind(RETRIED)
    world.end(world.job(RETRIED)["prediction_id"], "failed")
    world.submission(RETRIED)["state"] = "failed"
    world.step(RETRIED, "queued", "retry: provider_transient")
    world.create(RETRIED, attempt=2)
    world.bind(RETRIED)
    world.complete(RETRIED)


def _lost(world: World) -> None:
    world.create(LOST)
    world.prediction(f"p-{LOST[-2:]}-1").update(answered=False, faults=["create_reset"])
    world.submission(LOST)["state"] = "unknown"
    world.step(LOST, "unknown", "lost")
    world.step(LOST, "unknown", "reconcile")
    world.step(LOST, "unknown", "look_again")
    world.bind(LOST, "found")
    world.complete(LOST)


def _canceled(world: World) -> None:
    world.create(CANCELED)
    world.bind(CANCELED)
    world.step(CANCELED, "submitted", "cancel")
    world.told("cancel", CANCELED)
    world.end(world.job(CANCELED)["prediction_id"], "canceled")
    world.submission(CANCELED)["state"] = "canceled"
    world.step(CANCELED, "canceled", "canceled: canceled")
