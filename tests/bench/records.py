"""What was measured: samples, one a round, under the line of the report that they belong to."""

import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Sample:
    """One round of one measurement."""

    value: float
    """In the line's unit."""
    latency: dict[str, float] = field(default_factory=dict)
    """Milliseconds by percentile, such as p50."""
    cpu: dict[str, float] = field(default_factory=dict)
    """CPU seconds for a thousand of what was done, by process."""
    foreign: float = 0.0
    """The share of the machine's CPU that others used meanwhile."""
    client: float = 0.0
    """The share of one core that the load generator took: near 1 it is what was measured."""
    counts: dict[str, float] = field(default_factory=dict)
    """What explains the number without the machine: statements, messages and calls a job, sizes of batches."""


@dataclass
class Line:
    """One line of the report."""

    row: str
    what: str
    subject: str
    unit: str
    samples: list[Sample] = field(default_factory=list)

    def median(self, name: str = "value") -> float:
        """Over the rounds: of `value`, `cpu` (the sum), `foreign`, `client`, a percentile or a count; 0 where there is none."""
        return statistics.median(self._all(name)) if self.samples else 0.0

    def spread(self, name: str = "value") -> float:
        """Half the distance between the highest and the lowest round, as a share of the median."""
        values, middle = self._all(name), self.median(name)
        return (max(values) - min(values)) / 2 / middle if middle else 0.0

    def parts(self, kind: str) -> dict[str, float]:
        """The medians of `cpu` by process, or of `counts` by name."""
        names = {name: None for sample in self.samples for name in getattr(sample, kind)}
        return {name: statistics.median(getattr(sample, kind).get(name, 0.0) for sample in self.samples) for name in names}

    def _all(self, name: str) -> list[float]:
        match name:
            case "value" | "foreign" | "client":
                return [getattr(sample, name) for sample in self.samples]
            case "cpu":
                return [sum(sample.cpu.values()) for sample in self.samples]
        return [sample.latency.get(name, sample.counts.get(name, 0.0)) for sample in self.samples]


class Book:
    """All lines of a run."""

    def __init__(self) -> None:
        """Empty."""
        self._lines: dict[tuple[str, str, str], Line] = {}

    def add(self, row: str, what: str, subject: str, unit: str, sample: Sample) -> None:
        """Notes one round."""
        self._lines.setdefault((row, what, subject), Line(row, what, subject, unit)).samples.append(sample)

    def line(self, row: str, what: str, subject: str) -> Line | None:
        """What was noted there."""
        return self._lines.get((row, what, subject))

    def best(self, row: str, what: str, subject: str) -> Line | None:
        """The line with the highest value of the subject or of one of its forms, such as `first design, 2 API processes`."""
        found = [line for line in self if (line.row, line.what) == (row, what) and line.subject.partition(",")[0] == subject]
        return max(found, key=Line.median, default=None)

    def __iter__(self) -> Iterator[Line]:
        """By row, in the order in which they were begun."""
        return iter(sorted(self._lines.values(), key=lambda line: (line.row != "limits", line.row)))

    def as_json(self) -> list[dict[str, Any]]:
        """Every round of every line."""
        return [
            {**asdict(line), "median": line.median(), "spread": line.spread(), "cpu_per_1000": line.median("cpu")} for line in self
        ]
