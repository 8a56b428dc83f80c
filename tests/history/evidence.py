"""What an experiment left behind, as plain rows: nothing here interprets it.

Times are seconds since 1970 by this machine's clock, which PostgreSQL, the simulator and the recorder share. Ids are text.
"""

from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import orjson

Row = dict[str, Any]

FINAL_STATES = frozenset({"succeeded", "failed", "canceled"})
FINAL_STATUSES = frozenset({"completed", "failed", "canceled"})
STATUS = {
    **dict.fromkeys(("claimed", "submitting", "submitted", "unknown"), "processing"),
    **{"queued": "pending", "succeeded": "completed", "failed": "failed", "canceled": "canceled"},
}
"""What each state is called to the job's owner; written out again, so that a mistake in the product is not repeated here."""


@dataclass
class Evidence:
    """Everything that the checker reads."""

    told: list[Row] = field(default_factory=list)
    """What clients were told, in the order of the answers: kind `create`, `status`, `watch`, `cancel` or `media`, `began`, `ended`,
    `tenant`, `status` (the answer's, None where there was none), `job`, `version`, `job_status`; see recorder.py."""
    jobs: list[Row] = field(default_factory=list)
    """The rows of `jobs`."""
    events: list[Row] = field(default_factory=list)
    """The rows of `job_events`, by job and version."""
    submissions: list[Row] = field(default_factory=list)
    """The rows of `submissions`, oldest first."""
    keys: list[Row] = field(default_factory=list)
    """The rows of `idempotency_keys`."""
    ledger: Row = field(default_factory=dict)
    """What the simulator counted: GET /control/ledger."""
    objects: list[Row] = field(default_factory=list)
    """The bucket: `key`, `size`, `sha256` of the bytes as they were read."""
    queues: list[Row] = field(default_factory=list)
    """RabbitMQ: `name`, `ready`, `unacked`, `consumers`, and `bodies`, the dead letters' content in base64."""
    consumers: int = 0
    """How many generators ran at the end: the live queue has a consumer for each."""
    leaks: list[Row] = field(default_factory=list)
    """Where a secret or a prompt stands that must not: `where`, `what`, `line` (with the secret left out)."""
    vitals: list[Row] = field(default_factory=list)
    """Samples: `at`, `part`, `pid`, `rss` (bytes), `descriptors`, `connections`; and of the part `database` `sessions`,
    `in_transaction`, `oldest_transaction` (seconds)."""
    logs_read: int = 0
    """Bytes of logs and dead letters that were searched for leaks."""

    def save(self, folder: Path) -> None:
        """Write one JSON file a field."""
        folder.mkdir(parents=True, exist_ok=True)
        for one in fields(self):
            (folder / f"{one.name}.json").write_bytes(orjson.dumps(getattr(self, one.name)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        return cls(**{one.name: orjson.loads((folder / f"{one.name}.json").read_bytes()) for one in fields(cls)})


@dataclass(frozen=True)
class Violation:
    """A broken invariant."""

    invariant: str
    """I1 to I12."""
    what: str
    """A sentence."""
    jobs: tuple[str, ...] = ()
    """The ids of the jobs that it is about."""

    def __str__(self) -> str:
        """The sentence, with what it is about."""
        return f"{self.invariant}: {self.what}" + (f" [{', '.join(self.jobs)}]" if self.jobs else "")


def by_job(rows: list[Row]) -> dict[str, list[Row]]:
    """Rows by their `job_id`, in their order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["job_id"], []).append(row)
    return found


def moment(text: str) -> float:
    """Seconds since 1970 of a time as the simulator writes it."""
    return datetime.fromisoformat(text).timestamp()
