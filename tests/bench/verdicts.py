"""The targets: each a ratio within one run, as absolute figures are the machine's."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.accepting import ONE_CLIENT
from bench.lasting import HELD, LAST, QUARTERS, SECOND
from bench.limits import SUBJECT, hello
from bench.measure import ONE_KEY, OWN_RATE, QUIET, SEEDS_RATE, USUAL_RATE
from bench.records import Book, Line
from bench.scaling import OVER_HTTP, POLLED

VOID_ABOVE = 0.15
"""The share of the machine that others may use before a line proves nothing."""

SERVICES = ("gateway", "jobs", "generator", "postgresql", "rabbitmq")
"""Of whose memory row l has a target."""

OURS, SEED = "mediagen", "first design"


@dataclass(frozen=True)
class Verdict:
    """One target, and what was measured of it."""

    row: str
    what: str
    value: float | None
    """None where it was not measured."""
    must: float
    stretch: float
    at_most: bool
    """Whether less is better."""
    foreign: float
    """The largest share of foreign CPU among the lines that it stands on."""

    @property
    def word(self) -> str:
        """not measured, void, missed, must or stretch."""
        if self.value is None:
            return "not measured"
        if self.foreign > VOID_ABOVE:
            return "void"
        for name, limit in (("stretch", self.stretch), ("must", self.must)):
            if self.value <= limit if self.at_most else self.value >= limit:
                return name
        return "missed"


class _Judge:
    def __init__(self, book: Book) -> None:
        self._book = book

    def line(self, row: str, what: str, subject: str = OURS) -> Line | None:
        return self._book.line(row, what, subject)

    def best(self, row: str, what: str) -> Line | None:
        return self._book.best(row, what, SEED)

    def at_least(self, row: str, what: str, over: Line | None, under: Line | None, must: float, stretch: float) -> Verdict:
        return _verdict(row, what, over, under, "value", must, stretch, at_most=False)

    def at_most(self, row: str, what: str, over: Line | None, under: Line | None, of: str, must: float, stretch: float) -> Verdict:
        return _verdict(row, what, over, under, of, must, stretch, at_most=True)

    def plain(self, row: str, what: str, line: Line | None, of: str, must: float, stretch: float) -> Verdict:
        value = line.median(of) if line else None
        return Verdict(row, what, value, must, stretch, at_most=True, foreign=line.median("foreign") if line else 0.0)


def _verdict(
    row: str, what: str, over: Line | None, under: Line | None, of: str, must: float, stretch: float, *, at_most: bool
) -> Verdict:
    value = over.median(of) / under.median(of) if over and under and under.median(of) else None
    foreign = max(line.median("foreign") if line else 0.0 for line in (over, under))
    return Verdict(row, what, value, must, stretch, at_most, foreign)


def verdicts(book: Book, in_flight: int, waiting: int, few: int) -> Iterator[Verdict]:
    """All targets, in the order of the rows."""
    judge = _Judge(book)
    line, at_least, at_most, plain = judge.line, judge.at_least, judge.at_most, judge.plain
    accepted = line("a", ONE_KEY)
    yield at_least("a", "of what the first design accepts", accepted, judge.best("a", ONE_KEY), 4, 9)
    for application, must, stretch in (("fastapi", 0.30, 0.30), ("starlette", 0.0, 0.25)):
        limit = line("limits", hello(application, "POST"), SUBJECT)
        yield at_least("a", f"of a bare {application} POST", accepted, limit, must, stretch)
    completed = line("b", ONE_KEY)
    yield at_least("b", "of what the first design completes", completed, judge.best("b", ONE_KEY), 6, 14)

    def started(what: str) -> tuple[Line | None, Line | None]:
        return line("c", what), line("c", what, SEED)

    yield at_most("c", "p50 to start at 20/s, of the first design's", *started(QUIET), "p50", 1, 1)
    yield plain("c", "ms, p99 to start at 20/s", line("c", QUIET), "p99", 25, 15)
    rate = SEEDS_RATE if line("c", SEEDS_RATE) or line("j", SEEDS_RATE) else USUAL_RATE
    yield at_most("c", f"p99 to start at {rate}, of the first design's", *started(rate), "p99", 1 / 4, 1 / 8)
    yield plain("c", "ms, p99 to start at 80 % of its own rate", line("c", OWN_RATE), "p99", 150, 75)

    held = line("d", OVER_HTTP)
    reached = held.median() / in_flight if held else None
    yield Verdict("d", f"of {in_flight} in flight at once", reached, 0.98, 0.98, at_most=False, foreign=0.0)
    yield plain("d", "KiB for each", held, "KiB each", 150, 90)
    if held:
        cpu, foreign = held.parts("cpu").get("generator", 0.0), held.median("foreign")
        yield Verdict("d", "CPU s of the generator for 1,000", cpu, 4, 4, at_most=True, foreign=foreign)
    yield plain("d", "ms later than the provider, p99", held, "p99", 300, 300)
    yield plain("d", "ms later than the provider, p99, polled", line("d", POLLED), "p99", 10_300, 10_300)

    yield at_least("e", "of the first design's reads", line("e", "64 clients"), judge.best("e", "64 clients"), 4, 8)
    yield plain("f", "ms on top of the provider, p50", line("f", "one job at a time"), "p50", 20, 10)
    yield plain("f", "ms on top of the provider, p99", line("f", "one job at a time"), "p99", 50, 50)

    one, four = line("g", "generators: 1"), line("g", "generators: 4")
    scaled = four.median() / (4 * one.median()) if one and four and one.median() else None
    yield Verdict("g", "of four times one generator, with four", scaled, 0.95, 0.98, at_most=False, foreign=0.0)
    for call in ("claim of 100", "list of 50", "accept", "read"):
        long, short = line("g", f"{call}, {waiting:,} waiting"), line("g", f"{call}, {few:,} waiting")
        yield at_most("g", f"{call}, p50 before a long queue", long, short, "p50", 1.5, 1.3)

    copies = [one for one in book if one.row == "h"]
    ours, bare = (next((one for one in copies if one.subject == subject), None) for subject in (OURS, "bare"))
    yield at_least("h", "of a bare copy", ours, bare, 0.80, 0.95)
    if ours:
        yield Verdict("h", "CPU s for a GB", ours.parts("cpu")["copy"], 1, 0.75, at_most=True, foreign=ours.median("foreign"))
    yield plain("h", "MiB for each copy", ours, "MiB each", 2, 2)

    seed = line("b", ONE_KEY, SEED)
    yield at_most("i", "CPU for 1,000, of the first design's", completed, seed, "cpu", 1 / 6, 1 / 14)

    quiet = (line("j", ONE_CLIENT), line("j", ONE_CLIENT, SEED))
    yield at_most("j", "p50 of an accept, 1 client, of the first design's", *quiet, "p50", 1.3, 1.1)
    yield at_most("j", "CPU of a job, 1 client, of the first design's", *quiet, "cpu", 1.6, 1.2)
    alone = (line("j", QUIET), line("j", QUIET, SEED))
    yield at_most("j", "CPU of a job at 20/s, of the first design's", *alone, "cpu", 1.6, 1.2)
    steady = (line("j", rate), line("j", rate, SEED))
    yield at_most("j", f"CPU of a job at {rate}, of the first design's", *steady, "cpu", 1.0, 0.7)
    yield from _lasting(judge)


def _lasting(judge: _Judge) -> Iterator[Verdict]:
    """Row l's, where it was measured: the last quarter beside the second, and the slowest interval beside the usual one."""
    quarters = [line for what in QUARTERS if (line := judge.line("l", what))]
    second, last = judge.line("l", SECOND), judge.line("l", LAST)
    if second is None or last is None:
        return
    for service in SERVICES:
        yield judge.at_most("l", f"memory of {service}, of the second quarter's", last, second, HELD + service, 1.1, 1.03)
    for what, of, must, stretch in (
        ("jobs that are kept", "jobs: live rows", 1.1, 1.03),
        ("dead rows", "dead rows", 1.25, 1.1),
        ("size of all tables", "MiB of tables", 1.1, 1.03),
        ("WAL of a job", "WAL KiB", 1.1, 1.03),
        ("CPU of a job", "cpu", 1.1, 1.03),
        ("p99 to start", "p99", 1.5, 1.2),
    ):
        yield judge.at_most("l", f"{what}, of the second quarter's", last, second, of, must, stretch)
    every = Line("l", "every interval", OURS, "jobs/s", [sample for line in quarters for sample in line.samples])
    slowest = Line("l", "slowest", OURS, "jobs/s", [max(every.samples, key=lambda sample: sample.latency.get("p99", 0.0))])
    yield judge.at_most("l", "p99 to start in the slowest interval, of the median one's", slowest, every, "p99", 3, 1.5)
