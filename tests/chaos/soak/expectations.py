"""What a run has to show besides the twelve invariants: failures that have a reason, and recovery in time."""

from collections import Counter
from collections.abc import Iterator

from chaos.soak.measure import Wait, percentile, waits_after_kills, waits_of_lost_creates
from chaos.soak.run import Run
from history.evidence import Violation

MOVED_P95, MOVED_MOST = 35.0, 60.0
"""Seconds until the work of a killed generator has moved on, at the protocol's real times."""

RESOLVED_P95 = 100.0
"""Seconds until it is known what became of a lost create, by polling."""

SLACK = 15.0
"""What is added at a smaller scale: the machine does not get faster with the protocol's times."""

BY_REPLICATE = {"content_rejected", "provider_transient", "provider_timeout", "provider_aborted"}
"""Failures that a prediction which was made to end so explains."""

BY_FILES = {"output_truncated", "output_unavailable"}
"""Failures that the storm's faults of output files explain."""

COMPLETED = 0.6
"""The least share of jobs that are completed: some are canceled, some are too short of time, some Replicate fails for good."""


def shortcomings(run: Run, violations: list[Violation]) -> Iterator[str]:
    """Everything that makes the run a failed one, in sentences."""
    yield from run.problems
    yield from map(str, violations)
    jobs, scale = run.evidence.jobs, run.settings.scale
    explained = _explained(run)
    codes = Counter(job["error_code"] for job in jobs if job["state"] == "failed" and job["id"] not in explained)
    for code, times in codes.items():
        yield f"{times} jobs failed with {code}, which no fault explains"
    completed = sum(job["state"] == "succeeded" for job in jobs)
    if completed < COMPLETED * len(jobs):
        yield f"only {completed} of {len(jobs)} jobs were completed"
    if not run.struck:
        yield "no fault struck"
    slack = 0.0 if scale >= 1 else SLACK
    moved = waits_after_kills(run.evidence, run.struck)
    yield from _late("p95 of work of killed generators", percentile(_net(moved), 0.95), MOVED_P95 * scale + slack)
    yield from _late("the slowest work of a killed generator", max(_net(moved), default=None), MOVED_MOST * scale + slack)
    resolved = waits_of_lost_creates(run.evidence, run.struck)
    yield from _late("p95 of lost creates", percentile(_net(resolved), 0.95), RESOLVED_P95 * scale + slack)


def _net(waits: list[Wait]) -> list[float]:
    return [wait.net for wait in waits]


def _late(what: str, seconds: float | None, most: float) -> Iterator[str]:
    if seconds is not None and seconds > most:
        yield f"{what} took {seconds:.1f} s, and may take {most:.1f} s"


def _explained(run: Run) -> set[str]:
    """The failed jobs for whose failure there is a reason. There is none for crash_loop, outcome_unknown or prediction_lost."""
    hurried = {note["job"] for note in run.evidence.told if note.get("job") and "deadline_seconds" in note.get("fields", {})}
    ended = {one["prompt"] for one in run.evidence.ledger["predictions"] if "prediction_ends" in one["faults"]}
    files = any("files" in one.fault.name for one in run.struck)
    reasons = {
        **dict.fromkeys(BY_REPLICATE, lambda job: job["prompt"] in ended),
        **dict.fromkeys(BY_FILES, lambda job: files),
        "deadline_exceeded": lambda job: job["id"] in hurried,
    }
    return {job["id"] for job in run.evidence.jobs if job["error_code"] in reasons and reasons[job["error_code"]](job)}
