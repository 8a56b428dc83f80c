"""The statements of the store, composed from the files in sql/, the one table of transitions, and the times of the protocol."""

from dataclasses import dataclass
from importlib import resources

from jobs.states import TRANSITIONS
from jobs.timing import Timing

MAX_CLAIMS = 8
"""Claims that nothing was heard of after which a job is stopped: it kills its workers."""

RING_LIMIT = 256
"""How many jobs one tick of the relay rings for."""

ROOM = " AND $1 AND n.turn <= (SELECT CASE WHEN creates = 0 THEN 1 ELSE creates + 32 END FROM allowed)"
"""Locks no more rows than there is room for: where there is none, one that tells of a backlog; else some more, as another instance
may have the first ones. None at all where nobody would hear."""

COUNTED = (
    "AND l.creates_per_minute > 0 AND EXISTS (SELECT FROM input WHERE intent_id IS NOT NULL) "
    "AND (SELECT count(*) FROM keys) IS NOT NULL FOR NO KEY UPDATE"
)
"""Locks a lane with a budget where jobs are begun as they are accepted, and no other: it would hold up the next commit. Keys, for
which it may have to wait, come first in every such statement."""

GRANTED = ("job_id", "state", "worker", "intent_id")
"""What is known of a job when it is granted."""

REPORT_TYPES = {
    "job_id": "uuid",
    "verb": "text",
    "actor": "text",
    "worker": "uuid",
    "epoch": "bigint",
    "intent_id": "uuid",
    "prediction_ids": "text",
    "delay": "float8",
    "code": "text",
    "message": "text",
    "http_status": "int",
    "outputs": "jsonb",
    "predict_seconds": "float8",
    "marked": "bool",
    "lookup_begun_at": "bigint",
}
"""The columns of what is asked of a job, in the order of the parameters of sql/transition.sql: the fields of a Report."""


@dataclass(frozen=True)
class Statements:
    """Each takes its parameters as its file in sql/ names them."""

    transition: str
    """Applies reports: an array for each column of REPORT_TYPES."""
    claim_named: str
    claim_due: str
    claimed_before: str
    sweeps: dict[str, str]
    """By its verb, each applies it to the jobs of which its condition holds, in this order."""
    ring: str
    create: str
    get: str
    heartbeat: str
    workers: str


def compose(timing: Timing, *, time_scale: float) -> Statements:
    """All of them, with these times written into them."""
    transition = _fill(
        _sql("transition"),
        rules=_rules(),
        lease=timing.lease,
        settle=timing.settle,
        lookup_gap=timing.lookup_gap,
        unknown_limit=timing.unknown_limit,
        pause=timing.pause,
        pause_limit=timing.pause_limit,
        time_scale=time_scale,
        max_claims=MAX_CLAIMS,
    )
    locked = _fill(_sql("lane"), lock="FOR NO KEY UPDATE")
    due = _fill(_sql("due"), limit="$2", unattended="$2", room="", lane=locked)
    # As arrays, of which PostgreSQL expects ten elements: of `granted` it expects one row, and would compare each with each.
    columns = ", ".join(f"ARRAY(SELECT {name} FROM granted ORDER BY ord, job_id)" for name in GRANTED)  # noqa: S608
    claimed = (
        "SELECT g.ord, g.job_id, CASE WHEN g.state = 'submitted' THEN 'attach' WHEN g.state = 'unknown' THEN 'reconcile' "  # noqa: S608
        "WHEN g.intent_id IS NULL THEN 'claim' ELSE 'begin' END AS verb, g.worker::text AS actor, g.worker, "
        f"NULL::bigint AS epoch, g.intent_id, {_nothing_from('prediction_ids')} "
        f"FROM unnest({columns}) WITH ORDINALITY AS g ({', '.join(GRANTED)}, ord)"
    )
    return Statements(
        transition=_fill(transition, before="", input=_reported()),
        claim_named=_fill(
            transition,
            before=_fill(_sql("claim_named"), lane=locked, granted=_fill(_sql("granted"), intent="r.intent_id")),
            input=claimed,
        ),
        claim_due=_fill(
            transition,
            before=_fill(_sql("claim_due"), due=due, granted=_fill(_sql("granted"), intent="($4::uuid[])[r.place]")),
            input=claimed,
        ),
        claimed_before=_sql("claimed_before"),
        sweeps={verb: _fill(transition, before="", input=_swept(verb, where)) for verb, where in _ended_by_time(timing).items()},
        ring=_fill(
            _sql("ring"),
            due=_fill(_sql("due"), limit=RING_LIMIT, unattended=RING_LIMIT, room=ROOM, lane=_fill(_sql("lane"), lock="")),
            limit=RING_LIMIT,
            lease=timing.lease,
            ring=timing.ring,
        ),
        create=_fill(
            _sql("create"),
            lane=_fill(_sql("lane"), lock=COUNTED),
            shown=_sql("shown"),
            lease=timing.lease,
            settle=timing.settle,
            ring=timing.ring,
        ),
        get=_fill(_sql("get"), shown=_sql("shown")),
        heartbeat=_sql("heartbeat"),
        workers=_sql("workers"),
    )


def census(lease: float, settle: float, most_counted: int) -> str:
    """How things stand; nothing of the protocol needs it."""
    return _fill(_sql("census"), lane=_fill(_sql("lane"), lock=""), lease=lease, settle=settle, most=most_counted)


def _sql(name: str) -> str:
    return resources.files("jobs").joinpath("sql", f"{name}.sql").read_text()


def _fill(template: str, **values: object) -> str:
    for name, value in values.items():
        template = template.replace("{" + name + "}", str(value))
    return template


def _rules() -> str:
    """The table of transitions as rows of VALUES."""

    def literal(value: object) -> str:
        if value is None:
            return "NULL"
        return f"'{value}'" if isinstance(value, str) else str(value)

    rows = []
    for row in TRANSITIONS:
        values = (row.verb, row.source.value, row.target.value, row.fence.value, row.lease.value, row.attempts, row.claims)
        backoff = (float(row.backoff.base), float(row.backoff.factor), float(row.backoff.cap))
        rows.append("(" + ", ".join(literal(value) for value in (*values, *backoff, row.submission)) + ")")
    return ",\n        ".join(rows)


def _reported() -> str:
    """The reports of the parameters. JSON comes as text: asyncpg has no arrays of jsonb.

    Each is selected, so that PostgreSQL does not count its elements: for a single report it would find a plan of its own cheaper
    than one for any number, and plan anew with each call, which takes four times as long as the statement itself.
    """
    arrays = ", ".join(f"(SELECT ${n}::{'text' if kind == 'jsonb' else kind}[])" for n, kind in enumerate(REPORT_TYPES.values(), 1))
    columns = ", ".join(f"u.{name}{'::jsonb' if kind == 'jsonb' else ''}" for name, kind in REPORT_TYPES.items())
    names = ", ".join(REPORT_TYPES)
    return f"SELECT u.ord, {columns} FROM unnest({arrays}) WITH ORDINALITY AS u ({names}, ord)"  # noqa: S608


def _ended_by_time(timing: Timing) -> dict[str, str]:
    """The verbs of the sweeper, and what has to hold of a job for each."""
    limit = f"now() - make_interval(secs => {timing.unknown_limit})"
    return {
        "expire": "lease_worker IS NOT NULL AND lease_until <= now()",
        "give_up": "finished_at IS NULL AND cancel_requested_at IS NULL AND deadline_at <= now()",
        # in these words the partial index over both states serves
        "outcome_unknown": f"state IN ('submitting', 'unknown') AND state = 'unknown' AND unknown_since <= {limit}",
    }


def _swept(verb: str, where: str) -> str:
    return (
        f"SELECT s.ord, s.id AS job_id, '{verb}'::text AS verb, 'sweeper' AS actor, {_nothing_from('worker')} "  # noqa: S608
        f"FROM unnest(ARRAY(SELECT id FROM (SELECT id FROM jobs WHERE {where} LIMIT 500 FOR UPDATE SKIP LOCKED) e ORDER BY id)) "
        "WITH ORDINALITY AS s (id, ord)"
    )


def _nothing_from(first: str) -> str:
    """NULL for this column of a report and all that follow it."""
    names = list(REPORT_TYPES)
    return ", ".join(f"NULL::{REPORT_TYPES[name]} AS {name}" for name in names[names.index(first) :])
