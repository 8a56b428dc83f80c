"""The report as a person reads it."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from bench.records import Book, Line
from bench.verdicts import VOID_ABOVE, Verdict

BUSY_CLIENT = 0.85
"""Above this share of a core the load generator may be what was measured."""

_COLOURS = {"stretch": "green", "must": "green", "missed": "red", "void": "yellow", "not measured": "dim"}


def show(console: Console, book: Book, verdicts: Iterable[Verdict]) -> None:
    """Prints every line and every target."""
    lines = Table(title="measured: medians of the rounds", caption=_CAPTION, caption_justify="left")
    for heading in ("row", "what", "who", "median", "±", "p50 / p99 ms", "CPU s / 1,000", "by process", "foreign", "client"):
        lines.add_column(heading, overflow="fold", justify="right" if heading in ("median", "±", "foreign", "client") else "left")
    last = ""
    for line in book:
        if last and line.row != last:
            lines.add_section()
        last = line.row
        lines.add_row(*_cells(line))
    console.print(lines)
    for line in book:
        if counts := line.parts("counts"):
            told = ", ".join(f"{name} {count:.3g}" for name, count in counts.items())
            console.print(f"  {line.row}, {line.what}, {line.subject}: {told}", highlight=False)
    targets = Table(title="targets")
    for heading in ("row", "target", "measured", "must", "stretch", "verdict"):
        targets.add_column(heading, justify="left" if heading in ("row", "target", "verdict") else "right")
    for one in verdicts:
        sense = "≤" if one.at_most else "≥"
        value = "" if one.value is None else f"{one.value:.3g}"
        word = f"[{_COLOURS[one.word]}]{one.word}[/]"
        targets.add_row(one.row, one.what, value, f"{sense} {one.must:.3g}", f"{sense} {one.stretch:.3g}", word)
    console.print(targets)


_CAPTION = (
    f"±: half the distance between the rounds. foreign: the machine's CPU that others used; above {VOID_ABOVE:.0%} it is void (!). "
    f"client: the load generator's share of a core; above {BUSY_CLIENT:.0%} it may be what was measured (!)."
)


def _cells(line: Line) -> tuple[str, ...]:
    percentiles = "" if not line.median("p50") else f"{line.median('p50'):.3g} / {line.median('p99'):.3g}"
    cpu = line.median("cpu")
    parts = ", ".join(f"{name} {seconds:.2g}" for name, seconds in line.parts("cpu").items() if seconds >= 0.005 * cpu)
    foreign, client = line.median("foreign"), line.median("client")
    return (
        line.row,
        line.what,
        line.subject,
        f"{line.median():,.4g} {line.unit}" if line.median() < 1000 else f"{line.median():,.0f} {line.unit}",
        f"{line.spread():.0%}",
        percentiles,
        f"{cpu:.3g}" if cpu else "",
        parts,
        f"{foreign:.0%}{' !' if foreign > VOID_ABOVE else ''}",
        f"{client:.0%}{' !' if client > BUSY_CLIENT else ''}" if client else "",
    )
