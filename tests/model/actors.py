"""Who acts, and what each can do: the user, time and the provider; the workers are in workers.py.

Each function yields the steps that its actor may take now: what happens, in a few words, and the world after it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from jobs.states import State
from model.service import FINAL_STATES, NONE, Answer, Facts, Intent, Report, Service
from model.world import IDLE, Prediction, Worker, World

Steps = Iterator[tuple[str, World]]

ASKING = frozenset({"created", "found", "empty", "unreadable", "reconcile"})
"""The verbs that look beyond the job's own row."""

NO_FACTS = Facts()

OPEN = frozenset({State.SUBMITTING.value, State.UNKNOWN.value})
"""The states in which a create's outcome is open."""

Then = Callable[[Answer], Worker]
"""How a worker goes on after the answer to its report."""


def done_with(answer: Answer) -> Worker:
    """Whatever the answer is, the worker lets go of the job."""
    return IDLE


def which(world: World, number: int) -> str:
    """Which job, in words, where there are several."""
    return f" of job {number}" if len(world.jobs) > 1 else ""


MOST_PREDICTIONS = 2
"""How many predictions beyond one a job there may be; a bound that no run without a mistake reaches."""


@dataclass(frozen=True)
class Cast:
    """The actors of a variant, and the service that they talk to."""

    service: Service
    worker_steps: Mapping[str, "WorkerStep"]
    """What a worker can do, by the step that it is at."""
    end_by: str = "cancel"
    """How a job's end may be asked for: `cancel` by its owner, `give_up` by its deadline, or not at all."""
    failures: tuple[str, ...] = ("retry", "fail")
    """What a failed prediction may be reported as; none where no prediction fails."""
    lists_fail: bool = False
    """Whether Replicate's list may stay unreadable, until what is unknown is given up."""

    def steps(self, world: World) -> Steps:
        """Every step out of a world."""
        yield from self.user_and_deadline(world)
        yield from self.time(world)
        yield from self.provider(world)
        for number, worker in enumerate(world.workers):
            if number and worker == world.workers[number - 1]:
                continue  # what its double could do is the same
            if worker.step != "idle" and (after := world.without("crashes")):
                yield "a worker is killed", after.with_worker(number, IDLE)
            yield from self.worker_steps[worker.step](self, world, number, worker)

    def user_and_deadline(self, world: World) -> Steps:
        """Asks for a job's end."""
        for number, job in enumerate(world.jobs):
            if self.end_by and not job.end_asked and job.state not in FINAL_STATES:
                after, _ = self.tell(world, number, Report(self.end_by))
                yield f"{self.end_by}{which(world, number)}", after

    def time(self, world: World) -> Steps:
        """Leases pass, and so does the time in which Replicate's list can tell anything."""
        for number, job in enumerate(world.jobs):
            if job.leased:
                at_fault = world.without("expiries") if world.is_held(number) else world
                if at_fault:
                    after, _ = self.tell(at_fault, number, Report("expire"))
                    yield f"the lease{which(world, number)} expires", after
            # It takes an hour, in which a POST has landed or not, and Cancel-After has ended what it made.
            over = not world.may_still_land(job.intent) and all(one.status != "running" for one in world.predictions)
            if self.lists_fail and job.state == State.UNKNOWN and over:
                after, _ = self.tell(world, number, Report("outcome_unknown"))
                yield f"the outcome{which(world, number)} stays unknown", after

    def provider(self, world: World) -> Steps:
        """Takes or loses POSTs, ends predictions, and, where there are webhooks, tells whose they are."""
        for intent in dict.fromkeys(world.in_flight):
            yield from self._post(world, intent)
        watched = {worker.prediction for worker in world.workers if worker.step == "following"}
        for number, prediction in enumerate(world.predictions):
            # An end that nobody watches is noticed by nobody: that the prediction still runs is the worse case of the two.
            if prediction.status == "running" and (number in watched or self.lists_fail):
                yield "the prediction succeeds", world.with_prediction(number, status="done")
                if self.failures:
                    yield "the prediction fails", world.with_prediction(number, status="failed")
                if after := world.without("early_ends"):
                    yield "Cancel-After aborts it before it began", after.with_prediction(number, status="aborted")
                    yield "Cancel-After ends it while it runs, charged", after.with_prediction(number, status="late")
            job = prediction.intent.job
            # While the POST's own answer may still come, a webhook waits for it: sql/inbox.sql.
            if self.service.rules.marked and prediction.owner is None and world.jobs[job].state != State.SUBMITTING:
                after, answer = self.tell(world, job, Report("created", -1, prediction.intent, number), (number,))
                if after is not world:
                    yield f"a webhook tells of the prediction: {answer.result}", after

    def _post(self, world: World, intent: Intent) -> Steps:
        rest = [*world.in_flight]
        rest.remove(intent)
        arrived = world._replace(in_flight=tuple(rest))
        waiting = next((n for n, worker in enumerate(world.workers) if worker.step == "sent" and worker.intent == intent), None)

        def told(after: World, step: str, prediction: int = -1) -> World:
            if waiting is None:
                return after
            return after.with_worker(waiting, after.workers[waiting]._replace(step=step, prediction=prediction))

        of = which(world, intent.job)
        if len(world.predictions) < len(world.jobs) + MOST_PREDICTIONS:
            made = arrived._replace(predictions=(*world.predictions, Prediction(intent)))
            yield f"the POST{of} lands, and its answer is lost", told(made, "unsure")
            if waiting is not None:
                yield f"the POST{of} lands, and is answered", told(made, "answered", len(world.predictions))
        if after := arrived.without("misses"):
            yield f"the POST{of} is lost", told(after, "unsure")
        if waiting is not None:
            yield f"the POST{of} times out, and is still on its way", told(world, "unsure")
            if after := arrived.without("misses"):
                yield f"the POST{of} is refused", told(after, "refused")

    def tell(self, world: World, number: int, report: Report, matches: tuple[int, ...] = ()) -> tuple[World, Answer]:
        """Sends a report to the service, and returns the world with what it changed, and its answer."""
        job = world.jobs[number]
        intent = report.intent or job.intent
        facts = self._facts(world, number, report, intent, matches) if report.verb in ASKING else NO_FACTS
        answer = self.service.apply(job, report, facts)
        after = world.with_job(number, answer.job)
        if answer.bound != NONE and world.predictions[answer.bound].owner != intent:
            after = after.with_prediction(answer.bound, owner=intent)
        return after, answer

    def _facts(self, world: World, number: int, report: Report, intent: Intent | None, matches: tuple[int, ...]) -> Facts:
        open_jobs = [place for place, job in enumerate(world.jobs) if job.state in OPEN]
        free = [match for match in matches if world.predictions[match].owner in (None, intent) or self.service.rules.bind_taken]
        bindable = free[0] if free else NONE
        return Facts(
            bindable,
            taken_since=report.verb == "found" and bindable == NONE,
            settled=not world.may_still_land(world.jobs[number].intent),
            equal_open=bool(open_jobs) if report.verb == "created" else any(place != number for place in open_jobs),
            recorded=report.verb == "created" and any(prediction.owner == intent for prediction in world.predictions),
        )

    def reports(self, world: World, number: int, verb: str, then: Then = done_with, matches: tuple[int, ...] = ()) -> Steps:
        """A worker reports, and goes on as `then` says; or the answer is lost, and it will report again."""
        worker = world.workers[number]
        report = Report(verb, worker.epoch, worker.intent, worker.prediction, worker.stored, worker.settled)
        after, answer = self.tell(world, worker.job, report, matches)
        label = f"{verb}{which(world, worker.job)}: {answer.result}"
        yield label, after.with_worker(number, then(answer))
        if after is not world and (repeated := after.without("repeats")):
            yield f"{label}, but the answer is lost", repeated


WorkerStep = Callable[[Cast, World, int, Worker], Steps]
"""Yields what a worker, given by its number and itself, can do."""
