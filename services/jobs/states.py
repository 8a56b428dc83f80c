"""The life of a job: its states, and the one table of transitions between them.

                         begin: a claim with its intent
      ┌─────────────────────────────────┐
      │       claim          intend     ▼      created
    queued ─────────▶ claimed ──────▶ submitting ──────▶ submitted ──────▶ succeeded
      ▲  ▲               │             │      │              │  │ complete
      │  └── release, ───┘     refuse, │      │ lost,        │  └─ fail ──▶ failed, canceled
      │      expire        rate_limit, │      │ expire       │
      │                      not_sent, │      ▼              │
      ├─────────────────────── account ┘    unknown ─────────┤ found, created
      │                                       │              │
      └──────── ruled_out ────────────────────┘              │
      └──────── retry, aborted ──────────────────────────────┘

`unknown` means that a create may have happened: it is looked up in Replicate's list, never repeated. The table below is part of
sql/transition.sql, the only statement that changes a state; sql/create.sql writes the first one, or what `begin` makes of it. A
job's rows in job_events are its history.
"""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a job is in the protocol. Its owner sees the coarser status."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELED})
"""States that no job ever leaves; a trigger in the database refuses it."""

STATUS = {
    State.QUEUED: "pending",
    State.CLAIMED: "processing",
    State.SUBMITTING: "processing",
    State.SUBMITTED: "processing",
    State.UNKNOWN: "processing",
    State.SUCCEEDED: "completed",
    State.FAILED: "failed",
    State.CANCELED: "canceled",
}
"""What a state means to the job's owner: the column `status`."""


class Fence(StrEnum):
    """What a report must show to be believed."""

    NONE = "none"
    """The service itself acts: clients, the sweeper, claims."""
    EPOCH = "epoch"
    """The epoch of the grant is still the job's."""
    INTENT = "intent"
    """The intent is still the job's: whoever holds the lease by now, what a POST was answered with is true."""
    PREDICTION = "prediction"
    """The epoch and the prediction are still the job's."""
    UNLEASED = "unleased"
    """Nobody holds the job."""


class Lease(StrEnum):
    """What a transition does to the lease."""

    TAKE = "take"
    KEEP = "keep"
    DROP = "drop"


@dataclass(frozen=True)
class Backoff:
    """How long a job rests before its next turn: a random time up to base * factor ** n seconds, at most cap ("full jitter").

    n counts the paid attempts before, or the setbacks in a row where the attempt was given back.
    """

    base: float = 0
    factor: float = 1
    cap: float = 0


@dataclass(frozen=True)
class Transition:
    """One row of the table.

    A target of `queued` or `failed` is a wish: where the job's end was asked for it becomes `canceled` (or `failed` with
    `deadline_exceeded`), and where no attempt is left `queued` becomes `failed`.
    """

    verb: str
    source: State
    target: State
    fence: Fence
    lease: Lease = Lease.DROP
    attempts: int = 0
    """Added to the paid attempts: 1 when an intent authorises one, -1 when it proved free."""
    claims: int | None = 0
    """Added to the claims that came to nothing; None resets them, as there was progress."""
    backoff: Backoff = Backoff()
    submission: str | None = None
    """The state that it leaves the submission in."""


RETRY = Backoff(base=5, factor=5, cap=120)
"""After a paid attempt that failed: up to 5 s, 25 s, 2 min."""
NOT_SENT = Backoff(base=1, factor=2, cap=30)
RATE_LIMIT = Backoff(base=2, factor=2, cap=60)
CRASH = Backoff(base=1, factor=5, cap=60)


def _rows() -> list[Transition]:
    state, fence, lease = State, Fence, Lease
    rows = [
        # --- claims: each raises the epoch
        Transition("claim", state.QUEUED, state.CLAIMED, fence.UNLEASED, lease.TAKE, claims=1),
        Transition("begin", state.QUEUED, state.SUBMITTING, fence.UNLEASED, lease.TAKE, attempts=1, claims=1),
        Transition("attach", state.SUBMITTED, state.SUBMITTED, fence.UNLEASED, lease.TAKE),
        Transition("reconcile", state.UNKNOWN, state.UNKNOWN, fence.UNLEASED, lease.TAKE),
        # --- the create
        Transition("intend", state.CLAIMED, state.SUBMITTING, fence.EPOCH, lease.KEEP, attempts=1),
        Transition("decline", state.CLAIMED, state.QUEUED, fence.EPOCH, claims=-1),
        Transition("lost", state.SUBMITTING, state.UNKNOWN, fence.INTENT, claims=-1, submission="unknown"),
        Transition("taken", state.SUBMITTING, state.UNKNOWN, fence.INTENT, claims=-1, submission="unknown"),
    ]
    for source in (state.SUBMITTING, state.UNKNOWN):
        rows += [
            Transition("created", source, state.SUBMITTED, fence.INTENT, lease.TAKE, claims=None, submission="created"),
            Transition("reject", source, state.FAILED, fence.INTENT, attempts=-1, submission="refused"),
            Transition(
                "rate_limit", source, state.QUEUED, fence.INTENT, attempts=-1, claims=-1, backoff=RATE_LIMIT, submission="refused"
            ),
            Transition(
                "not_sent", source, state.QUEUED, fence.INTENT, attempts=-1, claims=-1, backoff=NOT_SENT, submission="not_sent"
            ),
            Transition("account", source, state.QUEUED, fence.INTENT, attempts=-1, claims=-1, submission="refused"),
        ]
    rows += [
        # --- looking a lost create up
        Transition("found", state.UNKNOWN, state.SUBMITTED, fence.EPOCH, lease.TAKE, claims=None, submission="created"),
        Transition("look_again", state.UNKNOWN, state.UNKNOWN, fence.EPOCH, lease.KEEP),
        Transition("ruled_out", state.UNKNOWN, state.QUEUED, fence.EPOCH, attempts=-1, backoff=NOT_SENT, submission="not_created"),
        Transition("outcome_unknown", state.UNKNOWN, state.FAILED, fence.NONE, submission="unknown"),
        # --- how a prediction ends
        Transition("complete", state.SUBMITTED, state.SUCCEEDED, fence.PREDICTION, submission="succeeded"),
        Transition("retry", state.SUBMITTED, state.QUEUED, fence.PREDICTION, backoff=RETRY, submission="failed"),
        Transition("fail", state.SUBMITTED, state.FAILED, fence.PREDICTION, submission="failed"),
        Transition("aborted", state.SUBMITTED, state.QUEUED, fence.PREDICTION, attempts=-1, backoff=NOT_SENT, submission="aborted"),
        Transition("canceled", state.SUBMITTED, state.FAILED, fence.PREDICTION, submission="canceled"),
        # --- giving back, and dying
        Transition("release", state.CLAIMED, state.QUEUED, fence.EPOCH, claims=-1),
        Transition("release", state.SUBMITTED, state.SUBMITTED, fence.EPOCH),
        Transition("release", state.UNKNOWN, state.UNKNOWN, fence.EPOCH),
        Transition("expire", state.CLAIMED, state.QUEUED, fence.NONE, backoff=CRASH),
        Transition("expire", state.SUBMITTING, state.UNKNOWN, fence.NONE, submission="unknown"),
        Transition("expire", state.SUBMITTED, state.SUBMITTED, fence.NONE),
        Transition("expire", state.UNKNOWN, state.UNKNOWN, fence.NONE),
    ]
    for verb in ("cancel", "give_up"):  # the owner's wish, and the deadline's: at once where nobody works on it, a flag elsewhere
        rows.append(Transition(verb, state.QUEUED, state.CANCELED if verb == "cancel" else state.FAILED, fence.NONE))
        for source in (state.CLAIMED, state.SUBMITTING, state.SUBMITTED, state.UNKNOWN):
            rows.append(Transition(verb, source, source, fence.NONE, lease.KEEP))
    return rows


TRANSITIONS: tuple[Transition, ...] = tuple(_rows())
"""Every transition that there is; what is not in it does not happen."""
