"""What a run of the soak is told: environment variables, which make passes on."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from choices import positive


@dataclass(frozen=True)
class Settings:
    """All have values that make a run of ten minutes."""

    minutes: float = 10.0
    """How long jobs are posted and faults strike; the system then gets as long as it needs to come to rest."""
    jobs_per_second: float = 2.0
    seed: int = 1
    """Of the faults and of the load: the same seed brings the same faults in the same order."""
    scale: float = 1.0
    """Multiplies every time of the protocol, and the length of every fault; 1 is what production has."""
    generators: int = 3
    webhooks: bool = True
    """Whether Replicate reports to the gateway; 0 leaves it to polling alone."""
    report: Path | None = None
    """Where to write the report, in Markdown."""
    keep: Path | None = None
    """A folder for the evidence, for `python -m history`."""

    @classmethod
    def read(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """MINUTES, JOBS_PER_SECOND and so on, after the fields; raises ValueError, which says what is wrong with which of them."""
        given = {name: variables[name.upper()] for name in cls.__dataclass_fields__ if variables.get(name.upper())}
        return cls(**{name: _read(name, value) for name, value in given.items()})

    @property
    def seconds(self) -> float:
        """How long the storm lasts."""
        return self.minutes * 60

    @property
    def lease(self) -> float:
        """A worker's lease, in seconds."""
        return 30 * self.scale


def _read(name: str, value: str) -> float | int | bool | Path:
    kind, meaning = _KINDS[name]
    try:
        return kind(value)
    except (ValueError, KeyError):
        raise ValueError(f"{name.upper()}={value} is not {meaning}") from None


def _new_file(value: str) -> Path:
    """A run lasts for hours: whether its report can be written is seen before it."""
    path = Path(value).absolute()
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError
    return path


def _folder(value: str) -> Path:
    path = Path(value).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise ValueError from None
    return path


_NUMBER = (partial(positive, kind=float), "a number above 0")
_KINDS: dict[str, tuple[Callable[[str], float | int | bool | Path], str]] = {
    "minutes": _NUMBER,
    "jobs_per_second": _NUMBER,
    "scale": _NUMBER,
    "seed": (int, "a whole number"),
    "generators": (partial(positive, kind=int), "a whole number above 0"),
    "webhooks": (lambda value: {"0": False, "1": True}[value], "0 or 1"),
    "report": (_new_file, "a file that can be written"),
    "keep": (_folder, "a folder that can be made"),
}
