"""Replicate at its worst: whatever it does to a create or a read, a job is completed and paid for once."""

import asyncio
from dataclasses import dataclass
from typing import Any

from chaos.experiment import Experiment
from waiting import until

RESET = {"effect": "create_reset", "times": 2}
ANSWER = {"effect": "create_answer", "times": 2}

CASES: dict[str, list[dict[str, Any]]] = {
    "reset before": [{**RESET, "accepted": False}],
    "reset after": [{**RESET, "accepted": True}],
    "slow": [{"effect": "create_late", "seconds": 8, "times": 2}],
    "500": [{**ANSWER, "answer": "internal_error"}],
    "500 in HTML after": [{**ANSWER, "answer": "internal_error_html", "accepted": True}],
    "502 before": [{**ANSWER, "answer": "bad_gateway"}],
    "502 after": [{**ANSWER, "answer": "bad_gateway", "accepted": True}],
    "503 before": [{**ANSWER, "answer": "service_unavailable"}],
    "504 after": [{**ANSWER, "answer": "gateway_timeout", "accepted": True}],
    "lagging": [{**RESET, "accepted": True}, {"effect": "list_lag", "seconds": 4, "times": 2}],
    "strange status": [{"effect": "prediction_status", "status": "hibernating", "seconds": 3, "times": 2}],
    "truncated": [{"effect": "file_truncated", "times": 2}],
    "away": [{"effect": "file_answer", "status": 503, "times": 2}],
}
"""Each strikes both jobs of its own, once; all of them are completed, and paid for once."""


def marked(case: str, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**rule, "when": {"prompt": f"[{case}]"}} for rule in rules]


@dataclass(frozen=True)
class Ended:
    """What became of jobs."""

    statuses: list[str]
    codes: list[str | None]
    creates: int


async def ended(experiment: Experiment, job_ids: list[str], prompt: str, seconds: float) -> Ended:
    async def final() -> bool:
        await experiment.recorder.look_once()
        return set(job_ids) <= experiment.recorder.final.keys()

    await until(final, seconds, what=f"{prompt} to end")
    views = [await experiment.recorder.job(job_id) for job_id in job_ids]
    predictions = (await experiment.ledger())["predictions"]
    return Ended(
        statuses=[view["status"] for view in views if view],
        codes=[view["error_code"] for view in views if view],
        creates=sum(prompt in prediction["prompt"] for prediction in predictions),
    )


async def test_whatever_replicate_does_to_a_create_or_a_read_its_job_is_completed_and_paid_for_once(start):
    experiment: Experiment = start(generators=2)
    await experiment.faults(
        *(rule for case, rules in CASES.items() for rule in marked(case, rules)),
        {"effect": "read_answer", "answer": "service_unavailable", "times": 3},
        {"effect": "read_answer", "answer": "throttled", "times": 2},
        {"effect": "read_reset", "times": 3},
        {"effect": "read_slow", "seconds": 2, "times": 3},
    )
    ids = {case: await experiment.post(2, f"[{case}]") for case in CASES}
    for case, job_ids in ids.items():
        assert await ended(experiment, job_ids, f"[{case}]", 90) == Ended(["completed"] * 2, [None, None], 2), case
    await experiment.all_is_well()


async def test_refusals_pause_or_delay_a_create_and_what_replicate_ended_is_made_again_at_no_attempt(start):
    experiment: Experiment = start(generators=2)
    throttled = [
        {**ANSWER, "answer": answer, "retry_after": 1} for answer in ("throttled", "throttled_about", "throttled_low_credit")
    ]
    await experiment.faults(
        *marked("429", throttled),
        *marked("aborted", [{"effect": "prediction_ends", "status": "aborted", "times": 2}]),
        *marked("expired", [{"effect": "file_answer", "status": 404}]),
    )
    ids = {case: await experiment.post(2, f"[{case}]") for case in ("429", "aborted", "expired")}
    assert await ended(experiment, ids["429"], "[429]", 60) == Ended(["completed"] * 2, [None, None], 2)
    assert await ended(experiment, ids["aborted"], "[aborted]", 60) == Ended(["completed"] * 2, [None, None], 4)
    assert await ended(experiment, ids["expired"], "[expired]", 60) == Ended(["failed"] * 2, ["output_expired"] * 2, 2)
    await experiment.faults(*marked("402", [{**ANSWER, "answer": "insufficient_credit"}]))
    paused = await experiment.post(2, "[402]")
    await asyncio.gather(*(experiment.completes("another's", within=60) for _ in range(3)))
    assert await ended(experiment, paused, "[402]", 60) == Ended(["completed"] * 2, [None, None], 2)
    for job_id in [*paused, *ids["429"], *ids["aborted"]]:
        view = await experiment.recorder.job(job_id)
        assert view is not None and view["retry_count"] == 0
    await experiment.verdict()
