"""I12: memory, descriptors and connections come back to where they were."""

from collections.abc import Iterator

from history.evidence import Evidence, Row, Violation

MEBIBYTE = 1 << 20

RSS_FACTOR, RSS_ALLOWANCE = 1.5, 100 * MEBIBYTE
"""How much memory a process may keep at the end: Python gives freed memory back late, or never."""

DESCRIPTORS, CONNECTIONS = 120, 120
"""How many more a process may have than at its first sample: pools that filled under load, and what clients keep alive, who may
hold a hundred connections for more than a minute. What leaks with each request is soon beyond that."""

SESSIONS = 20
"""The sessions of PostgreSQL that one jobs service may hold: its pool, and one that is being closed."""

REMEMBERS = "simulator"
"""It remembers every prediction and picture of the experiment on purpose, so that its memory grows with them."""

OLDEST_TRANSACTION = 10.0
"""Seconds: the services' own limit for a transaction that does nothing."""


def back_to_baseline(evidence: Evidence) -> Iterator[Violation]:
    """I12: the last sample of each process is near the first one of its kind, and no database session is left in a transaction."""
    if not evidence.vitals:
        yield Violation("I12", "no process was looked at")
    for part, samples in by_part(evidence.vitals).items():
        if part == "database":
            yield from _database(samples[-1])
            continue
        first, last = samples[0], samples[-1]
        if part != REMEMBERS and last["rss"] > RSS_FACTOR * first["rss"] + RSS_ALLOWANCE:
            what = f"{part} grew from {first['rss'] // MEBIBYTE} to {last['rss'] // MEBIBYTE} MiB"
            yield Violation("I12", what)
        for name, allowance in (("descriptors", DESCRIPTORS), ("connections", CONNECTIONS)):
            if last[name] > first[name] + allowance:
                yield Violation("I12", f"{part} went from {first[name]} to {last[name]} {name}")


def _database(last: Row) -> Iterator[Violation]:
    if last["sessions"] > SESSIONS:
        yield Violation("I12", f"PostgreSQL has {last['sessions']} sessions")
    if last["in_transaction"] or last["oldest_transaction"] > OLDEST_TRANSACTION:
        oldest = f"the oldest of all transactions began {last['oldest_transaction']:.0f} s ago"
        what = f"{last['in_transaction']} sessions are idle in a transaction, {oldest}"
        yield Violation("I12", what)


def by_part(samples: list[Row]) -> dict[str, list[Row]]:
    """Samples by part, in the order of time."""
    found: dict[str, list[Row]] = {}
    for row in sorted(samples, key=lambda row: row["at"]):
        found.setdefault(row["part"], []).append(row)
    return found
