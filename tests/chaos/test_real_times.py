"""How long jobs stand still at the protocol's real times, where a generator is killed and where the answer to a create is lost."""

import time

import pytest

from chaos.experiment import Experiment
from chaos.soak.measure import percentile, waits_of_lost_creates
from waiting import until

pytestmark = pytest.mark.patient

JOBS = 20

MOVED_WITHIN = 60.0
"""Seconds; a lease is 30 s."""

RESOLVED_WITHIN = 100.0
"""Seconds, by polling alone; a create is settled 90 s after its intent."""


async def test_the_jobs_of_a_killed_generator_move_again_within_a_minute(start):
    experiment: Experiment = start(generators=2, JOBS_TIME_SCALE="1", SIMULATOR_PREDICT_SECONDS="45")
    await experiment.post(JOBS, "long")
    await until(lambda: experiment.creates_are(JOBS), 60, what="the jobs to be paid for")
    # One generator may have taken all of them: they were rung for together.
    experiment.stack.kill(max(("generator-1", "generator-2"), key=lambda name: experiment.stack.log(name).count('"job.granted"')))
    killed = time.time()
    evidence = await experiment.verdict(seconds=180)
    assert {job["state"] for job in evidence.jobs} == {"succeeded"}
    assert evidence.ledger["creates"] == JOBS
    moved: dict[str, float] = {}
    for event in evidence.events:
        if event["epoch"] > 1:
            moved.setdefault(event["job_id"], event["at"] - killed)
    assert len(moved) >= JOBS / 2, "the killed generator held fewer than half of the jobs"
    experiment.note("SIGKILL of a generator to the next move of its last job", max(moved.values()))
    assert max(moved.values()) < MOVED_WITHIN


async def test_creates_of_unknown_outcome_are_resolved_by_polling_within_a_hundred_seconds(start):
    experiment: Experiment = start(generators=2, JOBS_TIME_SCALE="1")
    lost = {"effect": "create_reset", "when": {"prompt": "lost"}}
    await experiment.faults({**lost, "accepted": True, "times": JOBS // 2}, {**lost, "accepted": False, "times": JOBS // 2})
    await experiment.post(JOBS, "lost")
    evidence = await experiment.verdict(seconds=240)
    assert {job["state"] for job in evidence.jobs} == {"succeeded"}
    assert evidence.ledger["creates"] == JOBS
    resolved = [wait.seconds for wait in waits_of_lost_creates(evidence, struck=[])]
    assert len(resolved) == JOBS
    experiment.note("the loss of a create's answer to its resolution by polling", max(resolved))
    assert (percentile(resolved, 0.95) or 0.0) < RESOLVED_WITHIN
