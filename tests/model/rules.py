"""The rules of the protocol that its variants change."""

from dataclasses import dataclass

from jobs.states import TRANSITIONS, Transition


@dataclass(frozen=True)
class Rules:
    """The protocol as it is, field by field. Another value is a variant: a mistake that somebody could make."""

    table: tuple[Transition, ...] = TRANSITIONS
    max_attempts: int = 2
    settle: str = "told"
    """When a look-up counts: where the settle time had passed when it began, as its reporter was `told`; or as the job's `row` has
    it; or where it has passed when it is reported (`report`); or always (`off`)."""
    bind: str = "settled"
    """When a match is bound: once `settled`, at once (`any`), or at once where no equal job is `alone` in looking."""
    taken_since_counts: bool = True
    """Whether a match that another job bound since the look-up began keeps the create from being ruled out: that job took what may
    have been ours, and its own prediction may have been made after the list was read."""
    conflict: str = "taken"
    """What becomes of an answer whose prediction another job has: `taken`, or `stale`."""
    cancel_strays: str = "orphans"
    """Which fresh predictions of rejected answers are cancelled: true `orphans`, the `unbound`, or all that were `rejected`."""
    cancel_extras: bool = False
    """Whether a look-up cancels the matches that it does not bind."""
    reconcile_raises_epoch: bool = True
    intent_of_one_run: bool = True
    """Whether a repeated intent is granted to the run alone that recorded it, or to every run of the epoch."""
    begun_again: bool = False
    """Whether what a worker was granted with its intent is granted again to whatever claim of that worker, as what it was granted
    without one is; or only to the repeat of a claim whose answer never came."""
    cancel_declines: bool = True
    """Whether no intent is granted once the job's end was asked for."""
    cancel_beats_queue: bool = True
    """Whether a job whose end was asked for ends where it would go back to the queue."""
    late_verb: str = "canceled"
    """What is reported of a prediction that Cancel-After ended while it ran."""
    store_before_complete: bool = True
    release_lowers_epoch: bool = False
    bind_taken: bool = False
    """Whether a prediction that belongs to another intent may be bound."""
    marked: bool = False
    """Whether a prediction shows its intent, in its webhook's URL: a look-up then sees its own alone, and binds it at once."""
