"""How long a look-up is told to wait before it looks again: no longer than the protocol asks for, as its job stands still."""

import pytest

from integration.test_inbox import WORKER
from integration.test_jobs_service import Service
from jobs.states import State
from mediagen.jobs.v1 import worker_pb2 as pb

SETTLE = 80
"""Seconds that the intent's settle time is away."""


@pytest.mark.parametrize(
    ("outcome", "settle", "wait"),
    [
        (pb.LOOKUP_OUTCOME_EMPTY, SETTLE, SETTLE),
        (pb.LOOKUP_OUTCOME_FOUND, SETTLE, SETTLE),
        (pb.LOOKUP_OUTCOME_UNREADABLE, SETTLE, SETTLE),
        # Its look-up began before the settle time was over, and ended after it: now the list is read again at once.
        (pb.LOOKUP_OUTCOME_FOUND, -1, 0),
        # What is not there is looked for twice, 15 s apart, and this one began 10 s ago; the list may only be late.
        (pb.LOOKUP_OUTCOME_EMPTY, -1, 5),
        (pb.LOOKUP_OUTCOME_UNREADABLE, -1, 15),
    ],
)
async def test_a_look_up_waits_for_its_settle_time_or_for_the_gap_between_two_that_found_nothing(
    service: Service, outcome: pb.LookupOutcome.ValueType, settle: int, wait: int
):
    driver = service.driver
    job_id = await driver.reach(State.UNKNOWN)
    await driver.set(job_id, f"settle_at = now() + interval '{settle} s', lookup_begun_at = now() - interval '10 s'")
    row, begun = await driver.row(job_id), await driver.begun_at(job_id)
    look_up = pb.Lookup(job_id=str(job_id), epoch=row["epoch"], outcome=outcome, lookup_begun_at=begun)
    if outcome == pb.LOOKUP_OUTCOME_FOUND:
        look_up.prediction_ids.append("a match")
    request = pb.ReportLookupRequest(worker_id=str(driver.worker), lookups=[look_up])
    answer = await service.worker.ReportLookup(request, timeout=10, metadata=WORKER)
    assert answer.results[0].result == pb.RESULT_TOO_EARLY
    assert answer.results[0].retry_after_seconds == pytest.approx(wait, abs=2)
