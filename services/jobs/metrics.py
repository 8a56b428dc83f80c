"""What the jobs service counts of jobs, each as its change is committed: the sum over all instances is the truth."""

import functools
from collections.abc import Iterable
from typing import Any

from prometheus_client import Counter, Histogram

from jobs.states import FINAL, STATUS, TRANSITIONS, State

MOST_MODELS = 30
"""Models that have series of their own, the first that come; the others share one. A label must not be what clients write."""

CODES = frozenset(
    {
        *("account_unauthorized", "content_rejected", "crash_loop", "deadline_exceeded", "input_too_large", "insufficient_credit"),
        *("invalid_input", "model_error", "model_forbidden", "model_not_found", "model_oom", "not_sent", "outcome_unknown"),
        *(
            "output_expired",
            "output_forbidden_address",
            "output_missing",
            "output_not_media",
            "output_too_large",
            "output_truncated",
        ),
        *("output_unavailable", "prediction_lost", "provider_aborted", "provider_bug", "provider_timeout", "provider_transient"),
        *("rate_limited", "request_rejected"),
    }
)
"""Every error_code that a job may fail with; one of a newer generator is `other`."""

REPORTS = (
    *("intend", "created", "lost", "reject", "rate_limit", "not_sent", "account", "found", "empty", "unreadable"),
    *("complete", "retry", "fail", "aborted", "canceled", "release"),
)
"""Every verb that a generator reports with: each report may come too late."""

_BATCHES = (1, 2, 5, 10, 20, 50, 100, 256)

accepted = Counter("mediagen_jobs_accepted_total", "Jobs that were accepted.")
replayed = Counter("mediagen_jobs_replayed_total", "Requests that were answered with the job that their Idempotency-Key had made.")
_begun_at_once = Counter("mediagen_jobs_begun_at_once_total", "Jobs that were begun by the commit that accepted them.")
accept_batch = Histogram("mediagen_jobs_accept_batch", "Jobs accepted in one commit.", buckets=_BATCHES)
claim_batch = Histogram("mediagen_jobs_claim_batch", "Jobs leased by one claim; 0 where it got none.", buckets=(0, *_BATCHES))
report_batch = Histogram("mediagen_jobs_report_batch", "Reports and cancellations in one commit.", buckets=_BATCHES)
_reports = Counter("mediagen_jobs_reports_total", "Reports of generators, by verb and result.", ["verb", "result"])
_swept = Counter("mediagen_jobs_swept_total", "Jobs that time moved on, by what ran out.", ["verb"])
_transitions = Counter(
    "mediagen_jobs_transitions_total", "Changes of a job's state or lease, by verb.", ["verb", "from_state", "to_state"]
)
_finished = Counter("mediagen_jobs_finished_total", "Jobs that reached a final state, by their status.", ["status"])
_failed = Counter("mediagen_jobs_failed_total", "Jobs that failed, by error_code.", ["error_code"])
_predict_seconds = Counter(
    "mediagen_jobs_predict_seconds_total", "Seconds that Replicate bills, where it told them, by model.", ["model"]
)
_duration = Histogram(
    "mediagen_job_duration_seconds",
    "Seconds from a job's acceptance to its completion, by model.",
    ["model"],
    buckets=(0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14400),
)
_wait = Histogram(
    "mediagen_job_wait_seconds",
    "Seconds from when a job could be claimed until it was.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200),
)

report = functools.cache(_reports.labels)
"""The series of a verb and a result of a report; both are words of ours."""
swept = functools.cache(_swept.labels)
_transition = functools.cache(_transitions.labels)
_models: set[str] = set()


def _expect() -> None:
    """Lets what is looked at before it happens begin with 0: a rate of what is absent is absent, and no alert."""
    for row in TRANSITIONS:
        _transition(row.verb, row.source.value, row.target.value)
    for verb in REPORTS:
        for result in ("ok", "stale"):
            report(verb, result)
    report("created", "orphan")
    for verb in ("expire", "give_up", "outcome_unknown"):
        swept(verb)
    for state in FINAL:
        _finished.labels(STATUS[state])
    for code in (*CODES, "other"):
        _failed.labels(code)


_expect()


def model_label(model: str) -> str:
    """The model without its version, or `other` where there are too many by now."""
    name = model.partition(":")[0]
    if name not in _models:
        if len(_models) >= MOST_MODELS or "/" not in name:
            return "other"
        _models.add(name)
    return name


def count_transitions(rows: Iterable[Any]) -> None:
    """Counts what one commit of the statement that writes states has changed: `rows` are what it returned."""
    for row in rows:
        if isinstance(row, Exception) or row["rule"] is None:
            continue
        _transition(row["rule"], row["was"], row["state"]).inc()
        if row["waited"] is not None:
            _wait.observe(max(0.0, row["waited"]))
        if row["lasted"] is not None:
            _count_end(row)


def count_begun_at_once(jobs: int) -> None:
    """Counts as many that were begun by the commit that accepted them."""
    _begun_at_once.inc(jobs)
    _transition("begin", State.QUEUED.value, State.SUBMITTING.value).inc(jobs)
    for _ in range(jobs):
        _wait.observe(0.0)


def _count_end(row: Any) -> None:
    _finished.labels(STATUS[State(row["state"])]).inc()
    if row["state"] == State.SUCCEEDED:
        _duration.labels(model_label(row["model"])).observe(max(0.0, row["lasted"]))
    elif row["state"] == State.FAILED:
        _failed.labels(row["error_code"] if row["error_code"] in CODES else "other").inc()


def count_predict_seconds(model: str, seconds: float) -> None:
    """Counts what one attempt costs."""
    _predict_seconds.labels(model_label(model)).inc(seconds)
