"""What the rules stand on: the store, the clock, a report that is sent in step with the model, and what is looked at after each."""

from typing import Any
from uuid import UUID

import uvloop
from hypothesis.stateful import RuleBasedStateMachine

from driver import Driver
from jobs.store import Report
from properties import lockstep, snapshot
from properties.provider import Provider, Run
from properties.snapshot import Snapshot

PROMPTS = ["a fox", "a crow"]
"""Few, so that there are twins."""


class Bench(RuleBasedStateMachine):
    """Several jobs, some of them alike, three workers, and a provider that remembers."""

    driver: Driver
    loop: uvloop.Loop
    now: Snapshot
    """What was there when it was last looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.workers = [UUID(int=number) for number in range(1, 4)]
        self.ids: list[UUID] = []
        self.provider = Provider()
        self.runs: list[Run] = []
        self.sent: list[Report] = []
        """Every report that was sent."""
        self._named = 0

    @property
    def clock(self) -> float:
        """The time on the database's clock, in seconds."""
        return self.now.read_at / 1_000_000

    def new_id(self) -> UUID:
        """An id that is the same one whenever the same choices are made."""
        self._named += 1
        return UUID(int=self._named << 64)

    def wait(self, work: Any) -> Any:
        """Runs it on the loop that all examples share."""
        return self.loop.run_until_complete(work)

    def job(self, number: int) -> UUID:
        return self.ids[number % len(self.ids)]

    def done(self, run: Run) -> None:
        """The worker lets go of the job."""
        self.runs.remove(run)

    def end(self, run: Run, verb: str, **fields: Any) -> None:
        self.report(run, verb, prediction_ids=run.prediction, **fields)
        self.done(run)

    def report(self, run: Run, verb: str, **fields: Any) -> Any:
        return self.tell(Report(run.job_id, verb, str(run.worker), run.worker, run.epoch, **fields))

    def tell(self, report: Report) -> Any:
        """Sends a report, and sees that the store does with it what the model says."""
        before, job_id = self.now, str(report.job_id)
        self.sent.append(report)
        outcome = self.wait(self.driver.store.transition([report]))[0]
        if isinstance(outcome, Exception):
            raise outcome
        self.look()
        answer = lockstep.expected(before, report)
        shown = f"{report.verb} of a job that was {before.jobs[job_id]['state']}"
        assert outcome["result"] == answer.result, f"{shown}: {outcome['result']}, and by the model {answer.result}"
        assert lockstep.same(answer, self.now, job_id), f"{shown}: {self.now.as_modelled(job_id)}, and by the model {answer.job}"
        assert all(self.unchanged(before, other) for other in before.jobs if other != job_id)
        if answer.job.state == "succeeded":
            assert self.provider.get(answer.job.prediction).status == "done"
        return outcome

    def look(self) -> None:
        """Reads everything, and checks it."""
        before, self.now = self.now, self.wait(snapshot.read(self.driver.database))
        snapshot.check(self.now)
        snapshot.check_step(before, self.now)

    def unchanged(self, before: Snapshot, job_id: str) -> bool:
        return before.as_modelled(job_id) == self.now.as_modelled(job_id) and before.events[job_id] == self.now.events[job_id]

    def check_money(self) -> None:
        """Equal jobs may get each other's predictions: of each kind there are no more than jobs."""
        for prompt in PROMPTS:
            paid = sum(one.paid for one in self.provider.predictions if one.prompt == prompt)
            jobs = sum(row["prompt"] == prompt for row in self.now.jobs.values())
            assert paid <= jobs, f"{paid} paid predictions for {jobs} equal jobs"
