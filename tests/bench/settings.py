"""What a run of the bench is told: environment variables, which make passes on."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from choices import positive

ROWS = ("limits", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "q")
"""What can be measured, in the order in which it is."""

ONLY_WHEN_NAMED = ("l",)
"""Those of ROWS that last so long that they are measured only where ROWS names them."""

PEERS = ("first_design", "celery_rabbitmq", "taskiq", "procrastinate")
"""What mediagen is measured beside: the design that it replaces, and the queues that one would take instead."""


@dataclass(frozen=True)
class Settings:
    """All have values that make a whole run."""

    rows: tuple[str, ...] = tuple(row for row in ROWS if row not in ONLY_WHEN_NAMED)
    """Which of ROWS to measure."""
    seconds: float = 5.0
    """How long each measurement lasts, without its warm-up."""
    rounds: int = 3
    """How often each is repeated, by turns with what it is compared to; the median counts."""
    peers: tuple[str, ...] = PEERS
    """Which of PEERS to measure beside it."""
    waiting: int = 1_000_000
    """Jobs that wait while row g claims, lists, accepts and reads, and the most jobs that row q explains its statements with."""
    in_flight: int = 2000
    """Predictions that row d holds in one generator at once."""
    minutes: float = 60.0
    """How long row l lasts, which runs only where ROWS names it."""
    report: Path | None = None
    """Where to write everything as JSON."""

    @classmethod
    def read(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """ROWS, SECONDS and so on, after the fields; raises ValueError, which says what is wrong with which of them."""
        given: dict[str, Any] = {}
        for name, (read, meaning) in _KINDS.items():
            if value := variables.get(name.upper()):
                try:
                    given[name] = read(value)
                except (ValueError, KeyError):
                    raise ValueError(f"{name.upper()}={value} is not {meaning}") from None
        return cls(**given)


def _some_of(known: tuple[str, ...], value: str) -> tuple[str, ...]:
    named = {name.strip() for name in value.split(",")}
    if not named <= set(known):
        raise ValueError
    return tuple(name for name in known if name in named)


def _peers(value: str) -> tuple[str, ...]:
    if value in ("0", "1"):
        return PEERS if value == "1" else ()
    return _some_of(PEERS, value)


def _slots(value: str) -> int:
    count = positive(value, int)
    if count > 5000:
        raise ValueError
    return count


def _minutes(value: str) -> float:
    """A quarter of a shorter run would be a single interval."""
    minutes = positive(value, float)
    if minutes < 1:
        raise ValueError
    return minutes


def _new_file(value: str) -> Path:
    """A run lasts for many minutes: whether its report can be written is seen before it."""
    path = Path(value).absolute()
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError
    return path


_WHOLE = (partial(positive, kind=int), "a whole number above 0")
_KINDS: dict[str, tuple[Callable[[str], Any], str]] = {
    "rows": (partial(_some_of, ROWS), f"some of {','.join(ROWS)}"),
    "seconds": (partial(positive, kind=float), "a number above 0"),
    "rounds": _WHOLE,
    "peers": (_peers, f"0, 1 or some of {','.join(PEERS)}"),
    "waiting": _WHOLE,
    "in_flight": (_slots, "a whole number from 1 to 5000, the most slots that a generator has"),
    "minutes": (_minutes, "a number from 1"),
    "report": (_new_file, "a file that can be written"),
}
