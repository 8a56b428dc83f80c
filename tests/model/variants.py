"""Every variant that is checked: the protocol as it is, in worlds of several kinds, and each mistake with what it breaks."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from jobs.states import TRANSITIONS, Fence, State, Transition
from model import invariants
from model.actors import Cast
from model.checker import STUCK, Model
from model.rules import Rules
from model.service import Job, Service
from model.workers import WORKER_STEPS
from model.world import IDLE, Faults, World, all_final

AS_IT_IS = Rules()
ONE_EACH = Faults(crashes=1, expiries=1, misses=1)
ONE_CRASH = Faults(crashes=1, expiries=1)


@dataclass(frozen=True)
class Variant:
    """A protocol, and the world that it is put into."""

    name: str
    breaks: str | None = None
    """The invariant that it breaks first; None where it holds."""
    rules: Rules = AS_IT_IS
    faults: Faults = ONE_EACH
    jobs: int = 1
    workers: int = 2
    end_by: str = "cancel"
    failures: tuple[str, ...] = ("retry", "fail")
    lists_fail: bool = False
    large: bool = False
    """Whether it is left to `make model`: a second opinion that CI has no time for."""

    def model(self) -> tuple[Model[World], Service]:
        """What the checker takes, and the service in it."""
        service = Service(self.rules)
        cast = Cast(service, WORKER_STEPS, self.end_by, self.failures, self.lists_fail)
        world = World((Job(),) * self.jobs, (IDLE,) * self.workers, faults=self.faults)
        return Model(world, cast.steps, invariants.wrong, invariants.wrong_step, all_final), service


def twins(
    name: str,
    breaks: str | None = None,
    rules: Rules = AS_IT_IS,
    faults: Faults = ONE_CRASH,
    large: bool = False,
) -> Variant:
    """Two jobs with the same input, three workers. What one job alone can show is left out."""
    return Variant(name, breaks, rules, faults, jobs=2, workers=3, end_by="", failures=(), large=large)


# --- edits of the table


def table(edit: dict[str, dict[str, object]], without: Iterable[tuple[str, State]] = ()) -> tuple[Transition, ...]:
    """The table with the rows of some verbs changed ("verb" or "verb of source"), and some rows left out."""
    left_out = set(without)
    rows = [row for row in TRANSITIONS if (row.verb, row.source) not in left_out]
    changes = [{**edit.get(row.verb, {}), **edit.get(f"{row.verb} of {row.source}", {})} for row in rows]
    return tuple(replace(row, **change) for row, change in zip(rows, changes, strict=True))


UNFENCED = tuple(row if row.fence is Fence.UNLEASED else replace(row, fence=Fence.NONE) for row in TRANSITIONS)
NO_INTENT = tuple(
    replace(
        row,
        source=State.CLAIMED if row.source is State.SUBMITTING else row.source,
        target={State.SUBMITTING: State.CLAIMED, State.UNKNOWN: State.QUEUED}.get(row.target, row.target),
    )
    for row in TRANSITIONS
    if row.source is not State.UNKNOWN and (row.verb, row.source) != ("expire", State.SUBMITTING)
)
"""Without `submitting` and `unknown`: who claims may post, and a create whose outcome is unknown is tried again."""

LATE_REFUSALS = [(verb, State.UNKNOWN) for verb in ("reject", "rate_limit", "not_sent", "account")]

BY_EPOCH: dict[str, dict[str, object]] = {"created": {"fence": Fence.EPOCH}}
RETRIED: dict[str, dict[str, object]] = {"lost": {"target": State.QUEUED}, "expire of submitting": {"target": State.QUEUED}}
REOPENED = (*TRANSITIONS, Transition("fail", State.SUCCEEDED, State.FAILED, Fence.NONE))

# --- the variants

HOLDING = [
    Variant(
        "the protocol, with 2 crashes and 2 expiries",
        faults=Faults(crashes=2, expiries=2, misses=1),
        failures=("retry",),
        end_by="",
    ),
    Variant("cancelled at any moment"),
    Variant("cancelled at any moment, with 2 crashes and 2 expiries", faults=Faults(crashes=2, expiries=2), large=True),
    Variant("Cancel-After ends predictions", faults=Faults(1, 1, early_ends=1), failures=(), end_by=""),
    Variant("answers to reports are lost", faults=Faults(1, 1, repeats=1)),
    Variant("workers drain", faults=Faults(1, 1, releases=1), failures=("retry",)),
    Variant("a claim is granted twice", faults=Faults(1, 1, double_grants=1), failures=()),
    Variant("a deadline, and lists that cannot be read", faults=ONE_CRASH, failures=("retry",), end_by="give_up", lists_fail=True),
    Variant("webhooks tell whose a prediction is", rules=Rules(marked=True), faults=ONE_CRASH, failures=()),
    Variant("a late answer is not believed, and its prediction left to the look-up", rules=Rules(table(BY_EPOCH)), end_by=""),
    twins("twins"),
    twins("twins, and webhooks tell whose a prediction is", rules=Rules(marked=True), faults=Faults(expiries=1)),
    twins("twins, and a match is bound before it settled while no twin is open", rules=Rules(bind="alone"), large=True),
]
"""What holds. That a late answer is not believed, or that a lone job binds early, are choices that could have been made."""

BROKEN = [
    # --- what each rule of the protocol is for
    Variant("no intent before a POST", invariants.PAID_TWICE, Rules(NO_INTENT), end_by=""),
    Variant("an unknown create is retried", invariants.PAID_TWICE, Rules(table(RETRIED)), end_by=""),
    Variant("no settle time", invariants.PAID_TWICE, Rules(settle="off"), end_by=""),
    Variant("no fences", invariants.STALE_RESULT, Rules(UNFENCED), end_by=""),
    Variant(
        "a submitted job whose lease expires is queued",
        invariants.PAID_TWICE,
        Rules(table({"expire of submitted": {"target": State.QUEUED}})),
        end_by="",
    ),
    # --- tempting variants of it
    Variant(
        "a late answer is not believed, and its prediction cancelled",
        invariants.OWN_KILLED,
        Rules(table(BY_EPOCH, LATE_REFUSALS), cancel_strays="rejected"),
    ),
    Variant("every rejected prediction is cancelled", invariants.OWN_KILLED, Rules(cancel_strays="rejected")),
    Variant("a look-up settles by when it is reported", invariants.LEFT_RUNNING, Rules(settle="report")),
    Variant("no settle time, and a cancellation", invariants.LEFT_RUNNING, Rules(settle="off")),
    Variant("a look-up keeps the epoch", invariants.TWO_HOLDERS, Rules(reconcile_raises_epoch=False)),
    Variant(
        "an intent is the epoch's, not the run's",
        invariants.PAID_TWICE,
        Rules(intent_of_one_run=False),
        faults=Faults(1, 1, double_grants=1),
    ),
    Variant(
        "a grant with its intent comes twice",
        invariants.PAID_TWICE,
        Rules(begun_again=True),
        faults=Faults(1, 1, double_grants=1),
    ),
    Variant(
        "what ran into its time limit is retried",
        invariants.PAID_TWICE,
        Rules(late_verb="retry"),
        faults=Faults(1, 1, early_ends=1),
    ),
    Variant(
        "a repeated look-up counts as the one that its first report began",
        invariants.PAID_TWICE,
        Rules(settle="row"),
        faults=Faults(1, 1, repeats=1),
        end_by="",
    ),
    # --- so that every invariant is seen to be broken by something
    Variant("a job is completed before its outputs are stored", invariants.NO_OBJECT, Rules(store_before_complete=False)),
    Variant("an intent in spite of a cancellation", invariants.CANCEL_IGNORED, Rules(cancel_declines=False)),
    Variant("back to the queue in spite of a cancellation", invariants.CANCEL_IGNORED, Rules(cancel_beats_queue=False)),
    Variant("a failure reopens what succeeded", invariants.FINAL_LEFT, Rules(REOPENED), faults=Faults(0, 1), end_by=""),
    Variant("a look-up's lease never expires", STUCK, Rules(table({}, [("expire", State.UNKNOWN)])), faults=Faults(crashes=1)),
    Variant("a drain gives the epoch back", invariants.EPOCH_LOWERED, Rules(release_lowers_epoch=True), faults=Faults(releases=1)),
    # --- twins
    twins(
        "twins: a match is bound at once, and the others cancelled",
        invariants.OWN_KILLED,
        Rules(bind="any", cancel_strays="unbound", cancel_extras=True),
    ),
    twins(
        "twins: an answer that a twin has is stale, and cancelled",
        invariants.OWN_KILLED,
        Rules(bind="any", conflict="stale", cancel_strays="unbound"),
    ),
    twins("twins: what is rejected and bound to nobody is cancelled", invariants.OWN_KILLED, Rules(cancel_strays="unbound")),
    twins("twins: a match is bound before it settled", invariants.PAID_TWICE, Rules(bind="any"), Faults(expiries=1)),
    twins(
        "twins: what a twin took since counts for nothing",
        invariants.PAID_TWICE,
        Rules(taken_since_counts=False),
        Faults(expiries=1),
    ),
    twins("twins: one prediction may be bound twice", invariants.ONE_FOR_TWO, Rules(bind_taken=True), Faults(expiries=1)),
]
"""What does not, each with the invariant that it breaks first."""
