"""The job's side of the model: what sql/transition.sql does with one report of one job, over the very table of jobs/states.py.

The functions below have the names and the order of the statement's parts. Times are facts here: whoever asks says what has passed.
"""

import functools
from typing import NamedTuple

from jobs.states import FINAL, Fence, Lease, State, Transition
from model.rules import Rules

FINAL_STATES = frozenset(state.value for state in FINAL)
CLAIMS = {State.QUEUED.value: "claim", State.SUBMITTED.value: "attach", State.UNKNOWN.value: "reconcile"}
"""What a claim does with a job that nobody holds."""
BEGINNINGS = ("reconcile", "look_again")
"""The rows with which a look-up begins."""
REFUSALS = ("reject", "rate_limit", "not_sent", "account")
FAILURES = ("retry", "fail", "aborted", "canceled")


NONE = -1
"""No prediction."""


class Intent(NamedTuple):
    """The authority to send one POST. In the database it is a random id; here it says whose it is."""

    job: int
    epoch: int
    run: int = 0
    """Which run of the grant recorded it: one process may be given the same grant twice. 0 too where the grant came with it."""


class Job(NamedTuple):
    """What of a row of `jobs` decides its life."""

    state: str = State.QUEUED.value
    epoch: int = 0
    leased: bool = False
    attempts: int = 0
    intent: Intent | None = None
    prediction: int = NONE
    """Which prediction is bound to it."""
    end_asked: str = ""
    """Why it is to end: `canceled` or `deadline_exceeded`."""
    settled: bool = False
    """Whether the look-up that was begun last began after the settle time, where the row's word counts (Rules.settle)."""
    empty_before: bool = False
    """Whether another look-up was empty, long enough before."""
    result: tuple[int, int, bool] | None = None
    """The epoch and the prediction that completed it, and whether its outputs were in the bucket."""


class Report(NamedTuple):
    """What is asked of a job, and what its reporter shows."""

    verb: str
    epoch: int = 0
    intent: Intent | None = None
    prediction: int = NONE
    stored: bool = False
    """Whether the outputs that it names are in the bucket."""
    settled: bool = False
    """Whether the look-up that it tells of began after the settle time: the report repeats when that was."""


class Facts(NamedTuple):
    """What the statement finds out beyond the job's own row."""

    bindable: int = NONE
    """The first of the reported predictions that belongs to no other intent."""
    taken_since: bool = False
    """Whether an equal job has bound one of the reported predictions since the look-up began."""
    settled: bool = True
    """Whether the settle time of the job's intent has passed by now."""
    equal_open: bool = False
    """Whether a job with the same input, this one too, has a create whose outcome is open."""
    submission: str = ""
    """The state that the submission of the report's intent (or prediction) was left in."""
    reporter_leads: bool = True
    """Whether the lease is the reporter's own."""
    deadline_passed: bool = False
    crash_loop: bool = False
    """Whether the job was claimed too often without progress."""
    recorded: bool = False
    """Whether the report's intent has a prediction on record already."""
    orphaned: bool = False
    """Whether the reported prediction was marked before as one that its intent can never bind."""


class Answer(NamedTuple):
    """What came of a report."""

    job: Job
    result: str
    bound: int = NONE
    """The prediction that is the intent's own from now on, bound to the job or marked as an orphan."""
    settled: bool = False
    """Whether the look-up that begins with this answer begins after the settle time."""


class Service:
    """The jobs service under these rules."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.rows_used: set[tuple[str, str]] = set()
        """Verb and source of every row that was applied."""
        self._rows = {(row.verb, row.source.value): row for row in rules.table}
        self.apply = functools.cache(self.decide)
        """`decide`, remembered: the same few thousand questions come up in every state."""

    def decide(self, job: Job, report: Report, facts: Facts) -> Answer:
        """The whole statement: the job as it is afterwards, and what its reporter is told."""
        row = self._rows.get((self._chosen(job, report, facts), job.state))
        if row is None or not self._passes(row, job, report):
            return self._without_effect(job, report, facts)
        self.rows_used.add((row.verb, row.source.value))
        holds = row.verb != "created" or self._is_holder(job, report)
        after = self._written(job, row, report, facts, holds)
        bound = facts.bindable if row.verb in ("created", "found") else NONE
        return Answer(after, self._result(row, report, facts, holds), bound, row.verb in BEGINNINGS and facts.settled)

    def _chosen(self, job: Job, report: Report, facts: Facts) -> str:
        """The verb whose row applies; empty where none does."""
        verb = report.verb
        settled = {"told": report.settled, "row": job.settled, "report": facts.settled, "off": True}[self.rules.settle]
        match verb:
            case "intend" if facts.deadline_passed or (job.end_asked and self.rules.cancel_declines):
                return "decline"
            case "created" if facts.bindable == NONE:
                return "taken" if self.rules.conflict == "taken" else ""
            case "found" if facts.bindable != NONE:
                return "found" if settled or self._binds_early(facts) else "look_again"
            case "found" if facts.taken_since and self.rules.taken_since_counts:
                return "look_again"
            case "empty" | "found":  # matches that all belonged to others are as good as none
                return "ruled_out" if settled and job.empty_before else "look_again"
            case "unreadable":
                return "look_again"
            case "release" | "expire" if not job.leased:
                return ""
            case "cancel" | "give_up" if job.end_asked:
                return ""
        return verb

    def _binds_early(self, facts: Facts) -> bool:
        return self.rules.marked or self.rules.bind == "any" or (self.rules.bind == "alone" and not facts.equal_open)

    def _passes(self, row: Transition, job: Job, report: Report) -> bool:
        """The row's fence."""
        match row.fence:
            case Fence.NONE:
                return True
            case Fence.EPOCH:
                return report.epoch == job.epoch
            case Fence.INTENT:
                return report.intent == job.intent
            case Fence.PREDICTION:
                return report.epoch == job.epoch and report.prediction == job.prediction
            case Fence.UNLEASED:
                return not job.leased

    def _is_holder(self, job: Job, report: Report) -> bool:
        return report.epoch == job.epoch and not (job.state == State.UNKNOWN and job.leased)

    def _target(self, job: Job, row: Transition, facts: Facts) -> str:
        """`decided`: a wish to queue or to fail gives way to the end that was asked for, and to the end of the attempts."""
        wish = row.target.value
        if row.source == row.target or wish not in (State.QUEUED, State.FAILED) or row.verb == "outcome_unknown":
            return wish
        if job.end_asked and self.rules.cancel_beats_queue:
            return (State.FAILED if job.end_asked == "deadline_exceeded" else State.CANCELED).value
        if wish == State.QUEUED and job.attempts + row.attempts >= self.rules.max_attempts:
            return State.FAILED.value
        if wish == State.QUEUED and row.verb in ("expire", "ruled_out") and facts.crash_loop:
            return State.FAILED.value
        return wish

    def _written(self, job: Job, row: Transition, report: Report, facts: Facts, holds: bool) -> Job:
        target = self._target(job, row, facts)
        claimed = row.verb in ("claim", "begin", "attach") or (row.verb == "reconcile" and self.rules.reconcile_raises_epoch)
        lease = Lease.DROP if row.verb == "created" and not holds else row.lease
        bound = facts.bindable if row.verb in ("created", "found") else job.prediction
        unknown, empty = target == State.UNKNOWN, row.verb == "look_again" and report.verb == "empty"
        return Job(
            state=target,
            epoch=job.epoch + claimed - (row.verb == "release" and self.rules.release_lowers_epoch),
            leased=lease is Lease.TAKE or (lease is Lease.KEEP and job.leased),
            attempts=job.attempts + row.attempts,
            intent=report.intent if row.verb in ("begin", "intend") else None if target == State.QUEUED else job.intent,
            prediction=NONE if target == State.QUEUED else bound,
            end_asked={"cancel": "canceled", "give_up": "deadline_exceeded"}.get(row.verb, job.end_asked),
            settled=unknown and self.rules.settle == "row" and (facts.settled if row.verb in BEGINNINGS else job.settled),
            empty_before=unknown and (job.empty_before or empty),
            result=(report.epoch, report.prediction, report.stored) if row.verb == "complete" else job.result,
        )

    def _result(self, row: Transition, report: Report, facts: Facts, holds: bool) -> str:
        match row.verb:
            case "taken":
                return "taken"
            case "look_again":
                return "taken" if report.verb == "found" and facts.bindable == NONE else "too_early"
            case "decline":
                return "canceled"
            case "created" if not holds:
                return "not_holder"
        return "ok"

    def _without_effect(self, job: Job, report: Report, facts: Facts) -> Answer:
        """What is told where nothing changes: that it is so already, by this very report, or that its time has passed."""
        own_epoch, own_intent = report.epoch == job.epoch, report.intent == job.intent
        match report.verb:
            case "intend" if job.state == State.SUBMITTING and own_epoch and (own_intent or not self.rules.intent_of_one_run):
                return Answer(job, "ok")
            case "created" if job.state == State.SUBMITTED and own_intent and report.prediction == job.prediction:
                return Answer(job, "ok" if own_epoch and job.leased and facts.reporter_leads else "not_holder")
            case "found" if job.state == State.SUBMITTED and own_epoch and job.leased and facts.reporter_leads:
                return Answer(job, "ok")
            case "lost" if job.state == State.UNKNOWN and own_intent:
                return Answer(job, "ok")
            case verb if verb in REFUSALS and facts.submission in ("refused", "not_sent"):
                return Answer(job, "ok")
            case "complete" if job.state == State.SUCCEEDED and own_epoch and report.prediction == job.prediction:
                return Answer(job, "ok")
            case verb if verb in FAILURES and own_epoch and facts.submission in ("failed", "aborted", "canceled"):
                return Answer(job, "ok")
            case "release" if own_epoch and not job.leased and job.state not in FINAL_STATES:
                return Answer(job, "ok")
            case "cancel" if job.state == State.CANCELED or (job.end_asked and job.state not in FINAL_STATES):
                return Answer(job, "ok")
            case "created":
                return self._rejected(job, report, facts)
        return Answer(job, "stale")

    def _rejected(self, job: Job, report: Report, facts: Facts) -> Answer:
        """A fresh prediction that cannot be bound. It is an orphan, for ever, unless it may be what an equal job is looking for."""
        if facts.orphaned:
            return Answer(job, "orphan")
        if facts.bindable == NONE:
            looked_up = report.intent == job.intent and job.state == State.UNKNOWN and self.rules.conflict == "taken"
            return Answer(job, "taken" if looked_up else "stale")
        if facts.recorded or (facts.equal_open and self.rules.cancel_strays == "orphans"):
            return Answer(job, "stale")
        return Answer(job, "orphan", bound=facts.bindable)
