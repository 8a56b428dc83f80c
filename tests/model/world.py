"""What the model consists of: jobs, workers, predictions, POSTs on their way, and how many faults may still happen."""

from typing import NamedTuple

from model.service import FINAL_STATES, NONE, Intent, Job

PAID = frozenset({"running", "done", "late", "killed"})
"""Predictions that cost money: one runs or succeeded, Cancel-After ended it while it ran (`late`), or a worker cancelled it though
a job had need of it (`killed`). One that `failed`, was `aborted` before it began, or `canceled` as its job was to end, may be
followed by another."""


class Prediction(NamedTuple):
    """A prediction at the provider."""

    intent: Intent
    """Which POST made it. Without a marker nobody can see this."""
    status: str = "running"
    owner: Intent | None = None
    """The intent whose submission it was recorded with."""


class Worker(NamedTuple):
    """One run of one grant in one process, between two of its calls."""

    step: str = "idle"
    """What it is about to do; actors.py has a function for each."""
    job: int = -1
    epoch: int = 0
    intent: Intent | None = None
    prediction: int = NONE
    seen: tuple[int, ...] = ()
    """What the list showed, in a look-up."""
    stored: bool = False
    """Whether the outputs are in the bucket, under this epoch's own keys."""
    settled: bool = False
    """Whether its look-up began after the settle time."""


IDLE = Worker()


class Faults(NamedTuple):
    """How often what may go wrong does so, before it stops: the model is finite, and everything ends."""

    crashes: int = 0
    """A worker dies, at any step."""
    expiries: int = 0
    """The lease of a living worker passes: it froze, or the network did. A dead worker's passes in any case."""
    misses: int = 0
    """A POST makes nothing: it is refused, not sent at all, or lost on its way."""
    early_ends: int = 0
    """Cancel-After ends a prediction, before it began or while it ran."""
    repeats: int = 0
    """The answer to a report is lost, and it is sent again."""
    releases: int = 0
    """A worker drains, and gives back what it holds."""
    double_grants: int = 0
    """The answer to a claim comes twice, and both are acted upon."""


class World(NamedTuple):
    """A state of the model."""

    jobs: tuple[Job, ...]
    workers: tuple[Worker, ...]
    predictions: tuple[Prediction, ...] = ()
    in_flight: tuple[Intent, ...] = ()
    """POSTs that have left their worker and not reached the provider."""
    faults: Faults = Faults()

    def with_worker(self, number: int, worker: Worker) -> "World":
        """One worker goes on. Workers are alike, so that their order says nothing, and worlds that differ in it are one."""
        workers = [*self.workers]
        workers[number] = worker
        workers.sort(key=_order)
        return self._replace(workers=tuple(workers))

    def with_job(self, number: int, job: Job) -> "World":
        """One job becomes another."""
        if job is self.jobs[number]:
            return self
        return self._replace(jobs=(*self.jobs[:number], job, *self.jobs[number + 1 :]))

    def with_prediction(self, number: int, **changes: object) -> "World":
        """One prediction changes."""
        changed = self.predictions[number]._replace(**changes)
        return self._replace(predictions=(*self.predictions[:number], changed, *self.predictions[number + 1 :]))

    def without(self, fault: str) -> "World | None":
        """The same with one fault less to come; None where there is none left."""
        left = getattr(self.faults, fault)
        return self._replace(faults=self.faults._replace(**{fault: left - 1})) if left else None

    def is_held(self, number: int) -> bool:
        """Whether a living worker has the job's lease."""
        epoch = self.jobs[number].epoch
        return any(worker.job == number and worker.epoch == epoch for worker in self.workers)

    def may_still_land(self, intent: Intent | None) -> bool:
        """Whether this intent's POST may still make a prediction. Its settle time is chosen so that it has not passed before."""
        return intent in self.in_flight or any(worker.step == "intended" and worker.intent == intent for worker in self.workers)


def _order(worker: Worker) -> tuple[object, ...]:
    return (worker.step, worker.job, worker.epoch, worker.intent or (), worker.prediction, worker.seen, worker.settled)


def all_final(world: World) -> bool:
    """Where every run should be able to get to."""
    return all(job.state in FINAL_STATES for job in world.jobs)
