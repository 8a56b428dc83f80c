"""What a worker can do at each of its steps: what services/generator does, between one of its calls and the next."""

from jobs.states import State
from model.actors import Cast, Steps, Then, WorkerStep, which
from model.service import CLAIMS, FINAL_STATES, NONE, Answer, Intent, Report
from model.world import IDLE, Worker, World


def idle(cast: Cast, world: World, number: int, worker: Worker) -> Steps:
    """Claims what nobody holds: generator/claims.py, and the match in run_job.py."""
    for place, job in enumerate(world.jobs):
        if place and job.epoch == world.jobs[place - 1].epoch == 0:
            continue  # jobs are alike until they are claimed
        verb = CLAIMS.get(job.state)
        if verb and not job.leased:
            after, answer = cast.tell(world, place, Report(verb))
            epoch = answer.job.epoch
            begun = {
                "claim": Worker("granted", place, epoch, Intent(place, epoch)),
                "attach": Worker("following", place, epoch, prediction=job.prediction),
                "reconcile": Worker("looking", place, epoch, settled=answer.settled),
            }[verb]
            yield f"{verb}{which(world, place)}", after.with_worker(number, begun)
            if verb == "claim":
                intent = Intent(place, epoch)
                after, _ = cast.tell(world, place, Report("begin", intent=intent))
                yield f"begin{which(world, place)}", after.with_worker(number, Worker("intended", place, epoch, intent))
        if job.state == State.CLAIMED and job.leased and (after := world.without("double_grants")):
            again = Worker("granted", place, job.epoch, Intent(place, job.epoch, run=1))
            yield "the same grant once more", after.with_worker(number, again)
        begun_again = cast.service.rules.begun_again and job.state == State.SUBMITTING and job.leased
        if begun_again and (after := world.without("double_grants")):
            yield (
                "the same grant with its intent once more",
                after.with_worker(number, Worker("intended", place, job.epoch, job.intent)),
            )


def granted(cast: Cast, world: World, number: int, worker: Worker) -> Steps:
    """Records its intent, without which it sends nothing: create.py."""

    def then(answer: Answer) -> Worker:
        return worker._replace(step="intended") if answer.result == "ok" else IDLE

    yield from cast.reports(world, number, "intend", then)
    yield from _drained(cast, world, number)


def intended(cast: Cast, world: World, number: int, worker: Worker) -> Steps:
    """Sends the POST, or finds that its leash or the send-by time has passed."""
    after = world.with_worker(number, worker._replace(step="sent"))
    yield f"the POST{which(world, worker.job)} is sent", after._replace(in_flight=tuple(sorted([*world.in_flight, worker.intent])))
    if after := world.without("misses"):
        yield "it is too late to send the POST", after.with_worker(number, worker._replace(step="unsent"))


def sent(cast: Cast, world: World, number: int, worker: Worker) -> Steps:
    """Waits for the answer, whatever becomes of the job meanwhile."""
    yield from ()


def answered(cast: Cast, world: World, number: int, worker: Worker) -> Steps:
    """Records the prediction that the POST was answered with."""
    rules, fresh = cast.service.rules, world.predictions[worker.prediction].owner is None

    def then(answer: Answer) -> Worker:
        if answer.result == "ok":
            return Worker("following", worker.job, worker.epoch, prediction=worker.prediction)
        rejected = answer.result in ("stale", "not_holder") and answer.bound == NONE
        rejected = rejected and (rules.cancel_strays == "rejected" or (rules.cancel_strays == "unbound" and fresh))
        return worker._replace(step="stray") if answer.result == "orphan" or rejected else IDLE

    yield from cast.reports(world, number, "created", then, (worker.prediction,))


def stray(cast: Cast, world: World, number: int, worker: Worker) -> Steps:
    """Cancels a prediction that it was told is nobody's."""
    yield "a stray prediction is cancelled", _cancelled(world, worker.prediction).with_worker(number, IDLE)


def refused(cast: Cast, world: World, number: int, worker: Worker) -> Steps:
    """Records that no prediction was made."""
    for verb in ("rate_limit", "account", "reject"):
        yield from cast.reports(world, number, verb)


def unsent(cast: Cast, world: World, number: int, worker: Worker) -> Steps:
    """Records that nothing was sent."""
    yield from cast.reports(world, number, "not_sent")


def unsure(cast: Cast, world: World, number: int, worker: Worker) -> Steps:
    """Records that a prediction may have been made."""
    yield from cast.reports(world, number, "lost")


def looking(cast: Cast, world: World, number: int, worker: Worker) -> Steps:
    """Reads Replicate's list as it is now; what it reports of it may be old by then. What others own already counts for nothing."""
    intent, marked = world.jobs[worker.job].intent, cast.service.rules.marked
    matches = [n for n, one in enumerate(world.predictions) if one.intent == intent or not marked]
    seen = tuple(n for n in matches if world.predictions[n].owner in (None, intent))
    yield f"the list shows {len(seen)}", world.with_worker(number, worker._replace(step="looked", seen=seen))
    if cast.lists_fail:
        yield from cast.reports(world, number, "unreadable", _after_look_up(worker))
    yield from _drained(cast, world, number)
    yield from _told_lost(world, number)


def looked(cast: Cast, world: World, number: int, worker: Worker) -> Steps:
    """Reports what the list showed, until it may follow what was found."""

    for label, after in cast.reports(world, number, "found" if worker.seen else "empty", _after_look_up(worker), worker.seen):
        if cast.service.rules.cancel_extras and after.jobs[worker.job].state == State.SUBMITTED:
            for extra in worker.seen:
                if after.predictions[extra].owner is None:
                    after = _cancelled(after, extra)
        yield label, after
    yield from _told_lost(world, number)


def _after_look_up(worker: Worker) -> Then:
    def then(answer: Answer) -> Worker:
        if answer.result == "ok" and answer.job.state == State.SUBMITTED:
            return Worker("following", worker.job, worker.epoch, prediction=answer.job.prediction)
        again = Worker("looking", worker.job, worker.epoch, settled=answer.settled)
        return again if answer.result in ("too_early", "taken") else IDLE

    return then


def following(cast: Cast, world: World, number: int, worker: Worker) -> Steps:
    """Polls the prediction to its end, or cancels it where the job's end was asked for: run_job.py."""
    status = world.predictions[worker.prediction].status
    to_end = world.jobs[worker.job].end_asked and world.jobs[worker.job].epoch == worker.epoch
    if status == "running":
        if to_end:
            yield "its prediction is cancelled", world.with_prediction(worker.prediction, status="canceled")
    elif to_end:
        yield from cast.reports(world, number, "canceled")
    elif status == "done":
        storing = worker._replace(step="storing", stored=cast.service.rules.store_before_complete)
        yield "its outputs are stored", world.with_worker(number, storing)
    else:
        verbs = {"failed": cast.failures, "aborted": ("aborted",), "late": (cast.service.rules.late_verb,)}
        for verb in verbs.get(status, ("canceled",)):
            yield from cast.reports(world, number, verb)
    yield from _drained(cast, world, number)
    yield from _told_lost(world, number)


def storing(cast: Cast, world: World, number: int, worker: Worker) -> Steps:
    """Completes the job, or stops storing as its end was asked for."""
    yield from cast.reports(world, number, "complete")
    if world.jobs[worker.job].end_asked:
        yield from cast.reports(world, number, "canceled")


_STEPS = [idle, granted, intended, sent, answered, stray, refused, unsent, unsure, looking, looked, following, storing]
WORKER_STEPS: dict[str, WorkerStep] = {step.__name__: step for step in _STEPS}


def _drained(cast: Cast, world: World, number: int) -> Steps:
    """A drain gives the job back: worker.py."""
    if after := world.without("releases"):
        yield from cast.reports(after, number, "release")


def _told_lost(world: World, number: int) -> Steps:
    """A heartbeat says that the epoch has passed, or that the job is final."""
    worker = world.workers[number]
    job = world.jobs[worker.job]
    if job.epoch != worker.epoch or job.state in FINAL_STATES:
        yield "a heartbeat says that the job is lost", world.with_worker(number, IDLE)


def _cancelled(world: World, number: int) -> World:
    """A worker cancels a prediction that it takes for nobody's. Where a job is still open it may have been that job's own."""
    if world.predictions[number].status != "running":
        return world
    needed = any(job.state not in FINAL_STATES and not job.end_asked for job in world.jobs)
    return world.with_prediction(number, status="killed" if needed else "canceled")
