"""What must never be, as one function of a state, and one of a step."""

from collections.abc import Iterator

from jobs.states import State
from model.service import FINAL_STATES, NONE, Job
from model.world import PAID, World

PAID_TWICE = "paid twice"
ONE_FOR_TWO = "one prediction for two jobs"
NO_OBJECT = "completed without its object"
STALE_RESULT = "completed by a stale worker"
TWO_HOLDERS = "two holders of one epoch"
OWN_KILLED = "its own paid prediction was cancelled"
LEFT_RUNNING = "ended while its paid prediction runs"
FINAL_LEFT = "a final state was left"
EPOCH_LOWERED = "the epoch was lowered"
CANCEL_IGNORED = "a cancellation was ignored"


def wrong(world: World) -> Iterator[str]:
    """The invariants that this state breaks."""
    if sum(prediction.status in PAID for prediction in world.predictions) > len(world.jobs):
        yield PAID_TWICE
    if any(prediction.status == "killed" for prediction in world.predictions):
        yield OWN_KILLED
    bound = [job.prediction for job in world.jobs if job.prediction != NONE]
    if len(bound) > len(set(bound)):
        yield ONE_FOR_TWO
    for number, job in enumerate(world.jobs):
        if job.state == State.SUCCEEDED:
            yield from _wrong_result(world, job)
        elif job.state in FINAL_STATES and _left_running(world, number):
            yield LEFT_RUNNING
        acting = (one for one in world.workers if one.step in ("following", "storing"))
        if sum(one.job == number and one.epoch == job.epoch for one in acting) > 1:
            yield TWO_HOLDERS


def _wrong_result(world: World, job: Job) -> Iterator[str]:
    epoch, prediction, stored = job.result or (-1, -1, False)
    if not stored or world.predictions[prediction].status != "done":
        yield NO_OBJECT
    if (epoch, prediction) != (job.epoch, job.prediction):
        yield STALE_RESULT


def _left_running(world: World, number: int) -> bool:
    """Whether a prediction of this ended job runs with nobody on its way to it."""
    if any(worker.job == number and worker.step in ("intended", "sent", "answered", "stray") for worker in world.workers):
        return False
    if any(intent.job == number for intent in world.in_flight):
        return False
    return any(one.status == "running" and (one.owner or one.intent).job == number for one in world.predictions)


def wrong_step(before: World, after: World) -> Iterator[str]:
    """The invariants that this step breaks."""
    if before.jobs is after.jobs:
        return
    for old, new in zip(before.jobs, after.jobs, strict=True):
        if old.state in FINAL_STATES and (new.state, new.result) != (old.state, old.result):
            yield FINAL_LEFT
        if new.epoch < old.epoch:
            yield EPOCH_LOWERED
        # Once its end was asked for, a job is not begun any more, and fails only where its outcome stays unknown.
        if old.end_asked and old.state != new.state and new.state in (State.QUEUED, State.SUBMITTING):
            yield CANCEL_IGNORED
