"""The report of a run, in Markdown that reads well in a terminal."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from chaos.soak.measure import (
    ACCEPTED,
    CLAIMED,
    Wait,
    lives,
    percentile,
    waits_after_kills,
    waits_of_lost_creates,
    waits_until_back,
)
from chaos.soak.run import Run
from history.checker import INVARIANTS
from history.evidence import FINAL_STATES, Violation
from history.growth import by_part
from history.money import paid_too_often

MEBIBYTE = 1 << 20


def report(run: Run, violations: list[Violation], shortcomings: list[str]) -> Iterator[str]:
    """Line by line."""
    settings = run.settings
    yield "# Chaos report"
    yield ""
    numbers = f"MINUTES={settings.minutes:g} JOBS_PER_SECOND={settings.jobs_per_second:g} SEED={settings.seed}"
    yield f"    make chaos {numbers} SCALE={settings.scale:g} GENERATORS={settings.generators} WEBHOOKS={settings.webhooks:d}"
    yield ""
    yield f"{_day(run)}: {'FAILED' if shortcomings else 'passed'}."
    yield from _section("In short", _summary(run, violations))
    yield from _section("Recovery", _recovery(run))
    yield from _section("Faults", _faults(run))
    yield from _section("Invariants", _invariants(violations))
    yield from _section("Memory, descriptors and connections", _growth(run))
    if shortcomings:
        yield from ["", "## Shortcomings", ""]
        yield from (f"- {line}" for line in shortcomings[:50])


def _summary(run: Run, violations: list[Violation]) -> Iterator[tuple[object, ...]]:
    jobs, told = run.evidence.jobs, run.evidence.told
    accepted = {note["job"] for note in told if note["kind"] == "create" and note["status"] == 202}
    ended = {job["id"] for job in jobs if job["state"] in FINAL_STATES}
    states = Counter(job["state"] for job in jobs)
    failed = Counter(job["error_code"] for job in jobs if job["state"] == "failed")
    predictions = run.evidence.ledger["predictions"]
    yield ("what", "how many, or how long")
    yield ("jobs accepted", len(accepted))
    yield ("completed / failed / canceled", " / ".join(str(states[state]) for state in ("succeeded", "failed", "canceled")))
    yield ("failures by code", _counts(failed))
    yield ("accepted jobs lost", len(accepted - ended))
    yield ("duplicate jobs", _violations(violations, "I7"))
    yield ("double payments", paid_too_often(run.evidence))
    yield ("predictions made", f"{len(predictions)}: {_counts(Counter(one['status'] for one in predictions))}")
    yield ("faults", len(run.struck))
    yield ("creates repeated by clients", sum(note["kind"] == "create" and note["status"] != 202 for note in told))
    yield ("acceptance to completion, p50 / p95 / max", _times(lives(run.evidence)))
    yield ("rest after the storm", f"{run.rest:.0f} s")


def _recovery(run: Run) -> Iterator[tuple[object, ...]]:
    kills = [one for one in run.struck if one.fault.generator]
    yield ("", "times", "p50 / p95 / max", "without faults in the way")
    yield ("work of killed generators", *_waits(waits_after_kills(run.evidence, run.struck), f" of {len(kills)} kills"))
    lost = waits_of_lost_creates(run.evidence, run.struck)
    yield ("lost creates resolved", *_waits(lost, ""))
    for what, state in (("found", "submitted"), ("ruled out", "queued")):
        yield (f"… of them {what}", *_waits([wait for wait in lost if wait.state == state], ""))
    accepted = [job["created_at"] for job in run.evidence.jobs]
    claimed = [event["at"] for event in run.evidence.events if event["reason"] in ("claim", "begin", "attach")]
    for group in ("postgresql", "jobs", "gateway", "rabbitmq"):
        for what, moments, needed in (("accept", accepted, ACCEPTED), ("claim", claimed, CLAIMED)):
            waits = waits_until_back(moments, group, run.struck, needed)
            yield (f"first {what} after {group} was back", *_waits(waits, ""))


def _faults(run: Run) -> Iterator[tuple[object, ...]]:
    yield ("fault", "times", "seconds in all")
    times = Counter(one.fault.group for one in run.struck)
    for group, count in sorted(times.items()):
        lasted = sum((one.ended or one.began) - one.began for one in run.struck if one.fault.group == group)
        yield (group, count, f"{lasted:.0f}")


def _invariants(violations: list[Violation]) -> Iterator[tuple[object, ...]]:
    yield ("", "invariant", "violations")
    for invariant, (meaning, _) in INVARIANTS.items():
        yield (invariant, meaning, _violations(violations, invariant))


def _growth(run: Run) -> Iterator[tuple[object, ...]]:
    yield ("service", "processes", "MiB: first, most, last", "descriptors", "connections")
    for part, samples in by_part(run.evidence.vitals).items():
        if part == "database":
            sessions = [sample["sessions"] for sample in samples]
            yield ("sessions of PostgreSQL", "", "", "", f"{sessions[0]}, {max(sessions)}, {sessions[-1]}")
            continue
        cells = []
        for name, unit in (("rss", MEBIBYTE), ("descriptors", 1), ("connections", 1)):
            values = [sample[name] // unit for sample in samples]
            cells.append(f"{values[0]}, {max(values)}, {values[-1]}")
        yield (part, len({sample["pid"] for sample in samples}), *cells)


def _section(title: str, rows: Iterable[tuple[object, ...]]) -> Iterator[str]:
    yield from ["", f"## {title}", ""]
    for number, row in enumerate(rows):
        yield "| " + " | ".join(str(cell) for cell in row) + " |"
        if number == 0:
            yield "| " + " | ".join("---" for _ in row) + " |"


def _waits(waits: list[Wait], of: str) -> tuple[object, ...]:
    return f"{len(waits)}{of}", _times([wait.seconds for wait in waits]), _times([wait.net for wait in waits])


def _times(seconds: list[float]) -> str:
    if not seconds:
        return "none"
    return " / ".join(
        f"{value:.1f} s" for value in (percentile(seconds, 0.5), percentile(seconds, 0.95), max(seconds)) if value is not None
    )


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.most_common()) or "none"


def _violations(violations: list[Violation], invariant: str) -> int:
    return sum(violation.invariant == invariant for violation in violations)


def _day(run: Run) -> str:
    first = min((note["ended"] for note in run.evidence.told), default=0.0)
    return datetime.fromtimestamp(first, UTC).strftime("%Y-%m-%d %H:%M UTC")
