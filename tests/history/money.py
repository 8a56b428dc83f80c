"""I3 and I4: no job is paid for twice, and every prediction that the provider made is accounted for."""

from collections import Counter
from collections.abc import Iterator

from history.evidence import Evidence, Row, Violation, moment

FAILED = {"failed", "aborted"}
"""How a prediction may end that the provider could not make good; another attempt may follow."""

UNUSED = ("output_", "deadline_exceeded")
"""Error codes, or their beginnings, of jobs that failed although their prediction succeeded."""

CLOCK = 0.5
"""Seconds by which the provider's clock and the reader's may differ in their rounding, and a cancel be under way."""


def paid_once(evidence: Evidence) -> Iterator[Violation]:
    """I3: of each request there are at most as many predictions that live or were paid for as jobs, and as many live at once.

    Jobs that ask for the same are interchangeable where a lost create is looked up, so they are counted together.
    """
    jobs = _by_prompt(evidence.jobs)
    for prompt, predictions in _by_prompt(evidence.ledger["predictions"]).items():
        mine = jobs.get(prompt, [])
        ids = tuple(job["id"] for job in mine)
        good = [prediction for prediction in predictions if prediction["status"] not in FAILED]
        if len(good) > len(mine):
            yield Violation("I3", f"{len(mine)} jobs have {len(good)} predictions that live or were paid for: {_ids(good)}", ids)
        if (most := _at_once(predictions)) > len(mine):
            yield Violation("I3", f"{most} predictions of {len(mine)} jobs lived at once", ids)
    by_id = {job["id"]: job for job in evidence.jobs}
    attempts = Counter(
        (row["job_id"], row["attempt"])
        for row in evidence.submissions
        if row["state"] not in ("refused", "not_sent", "not_created", "aborted", "orphan_canceled")
    )
    for (job_id, attempt), times in attempts.items():
        if times > 1:
            yield Violation("I3", f"attempt {attempt} was authorised {times} times", (job_id,))
        if job_id in by_id and attempt > by_id[job_id]["max_attempts"]:
            yield Violation("I3", f"attempt {attempt} of at most {by_id[job_id]['max_attempts']} was authorised", (job_id,))


def paid_too_often(evidence: Evidence) -> int:
    """How many predictions live or were paid for beyond one a job."""
    jobs = _by_prompt(evidence.jobs)
    made = _by_prompt([one for one in evidence.ledger["predictions"] if one["status"] not in FAILED])
    return sum(max(0, len(predictions) - len(jobs.get(prompt, []))) for prompt, predictions in made.items())


def no_unknown_money(evidence: Evidence) -> Iterator[Violation]:
    """I4: every prediction of the ledger is bound, failed, canceled or recorded, and what is recorded agrees with the ledger."""
    predictions = {prediction["id"]: prediction for prediction in evidence.ledger["predictions"]}
    jobs = {job["id"]: job for job in evidence.jobs}
    bound: dict[str, list[Row]] = {}
    for row in evidence.submissions:
        if row["prediction_id"]:
            bound.setdefault(row["prediction_id"], []).append(row)
    if evidence.ledger["creates"] != len(predictions):
        yield Violation("I4", f"the ledger counts {evidence.ledger['creates']} creates and lists {len(predictions)}")
    for prediction_id, prediction in predictions.items():
        if prediction["completed_at"] is None:
            yield Violation("I4", f"prediction {prediction_id} is still {prediction['status']}", _job_ids(bound, prediction_id))
        if prediction_id not in bound and prediction["status"] not in (*FAILED, "canceled"):
            yield Violation("I4", f"no job knows of prediction {prediction_id}, which {prediction['status']}: {_told(prediction)}")
    for prediction_id, rows in bound.items():
        ids = _job_ids(bound, prediction_id)
        if len(rows) > 1:
            yield Violation("I4", f"prediction {prediction_id} is recorded {len(rows)} times", ids)
        if prediction_id not in predictions:
            yield Violation("I4", f"prediction {prediction_id} is recorded and was never made", ids)
            continue
        for row in [row for row in rows if row["job_id"] in jobs]:
            yield from _agrees(jobs[row["job_id"]], row, predictions[prediction_id])
    for job in evidence.jobs:
        if job["state"] == "succeeded" and not any(row["job_id"] == job["id"] for row in bound.get(job["prediction_id"], [])):
            yield Violation(
                "I4", f"a job succeeded with prediction {job['prediction_id']}, of which there is no record", (job["id"],)
            )
    for row in evidence.submissions:
        if row["job_id"] not in jobs:
            yield Violation("I4", f"attempt {row['attempt']} belongs to no job", (row["job_id"],))
            continue
        resolved = row["state"] != "unknown" or jobs[row["job_id"]]["error_code"] == "outcome_unknown"
        if row["state"] in ("intent", "created") or not resolved:
            yield Violation("I4", f"attempt {row['attempt']} was left as `{row['state']}`", (row["job_id"],))


def _agrees(job: Row, row: Row, prediction: Row) -> Iterator[Violation]:
    """What a submission and its job say of a prediction, and what the provider says of it."""
    ids = (job["id"],)
    name = f"prediction {prediction['id']}"
    if prediction["prompt"] != job["prompt"] or not same_model(prediction["model"], job["model"]):
        yield Violation("I4", f"{name} was made for another request: {_told(prediction)}", ids)
    told = prediction["status"]
    if row["state"] == "succeeded" and told != "succeeded":
        yield Violation("I4", f"{name} is recorded as succeeded and has {told}", ids)
    if row["state"] == "failed" and told not in ("failed", "succeeded"):
        yield Violation("I4", f"{name} is recorded as {row['state']} and has {told}", ids)
    if row["state"] == "aborted" and told != "aborted":
        yield Violation("I4", f"{name} is recorded as aborted and has {told}", ids)
    if told == "succeeded" and not _used(job, prediction["id"]):
        yield Violation("I4", f"{name} succeeded and was paid for, and its job is {job['state']}: {job['error_code']}", ids)
    if job["finished_at"] and prediction["completed_at"] and moment(prediction["completed_at"]) > job["finished_at"] + CLOCK:
        yield Violation("I4", f"{name} lived on after its job was {job['state']}", ids)


def _used(job: Row, prediction_id: str) -> bool:
    """Whether a prediction that succeeded became its job's result, or there is a reason why not."""
    if job["state"] == "succeeded":
        return job["prediction_id"] == prediction_id
    return job["state"] == "canceled" or (job["error_code"] or "").startswith(UNUSED)


def same_model(one: str, other: str) -> bool:
    """Whether two names are of one model; a version says nothing of the name, and is believed."""
    name = other.partition(":")[0].lower()
    return one.lower() == name or "/" not in name


def _by_prompt(rows: list[Row]) -> dict[str, list[Row]]:
    """By the prompt alone, which experiments keep apart: the model of a job may be a mere version."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["prompt"], []).append(row)
    return found


def _at_once(predictions: list[Row]) -> int:
    """The most of them that were under way at one moment."""
    steps: list[tuple[float, int]] = []
    for prediction in predictions:
        steps.append((moment(prediction["created_at"]), 1))
        if prediction["completed_at"]:
            steps.append((moment(prediction["completed_at"]), -1))
    alive = most = 0
    for _, step in sorted(steps):
        alive += step
        most = max(most, alive)
    return most


def _told(prediction: Row) -> str:
    return f"{prediction['prompt'][:60]!r}, {prediction['faults'] or 'no faults'}, answered: {prediction['answered']}"


def _ids(predictions: list[Row]) -> str:
    return ", ".join(prediction["id"] for prediction in predictions)


def _job_ids(bound: dict[str, list[Row]], prediction_id: str) -> tuple[str, ...]:
    return tuple(row["job_id"] for row in bound.get(prediction_id, []))
