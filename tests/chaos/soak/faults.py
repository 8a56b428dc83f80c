"""Every fault that may strike, and how: what it occupies while it lasts, and how long that is."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from chaos.proxy import Proxy, Way
from chaos.soak import processes
from chaos.soak.system import Rule, Soaked

Strike = Callable[[Soaked, float], Awaitable[None]]

CREATES = "creates under way"
"""Occupied by what delays a create on its way, or hides it from the list: together they must stay below the slack of the settle
time (reliability.md, assumptions A1 and A2), so only one of them strikes at a time."""


@dataclass(frozen=True)
class Fault:
    """One kind of fault."""

    name: str
    strike: Strike
    """Begins it, waits so many seconds, and heals it."""
    least: float
    most: float
    """How long it lasts, in seconds at the protocol's real times."""
    occupies: frozenset[str]
    """No two faults at once occupy the same."""
    weight: float = 1.0
    """How often it is chosen, against others."""
    group: str = ""
    """What the report counts it under."""
    generator: str = field(default="")
    """The generator that it kills, whose jobs then have to move on."""


def catalogue(generators: list[str]) -> list[Fault]:
    """All faults of a system with these generators."""
    return [*_of_generators(generators), *_of_services(), *_of_servers(), *_of_links(), *_of_replicate()]


def _of_generators(names: list[str]) -> list[Fault]:
    share = 1 / len(names)
    return [
        fault
        for name in names
        for fault in (
            _process(name, "SIGKILL", processes.killed, 0, 15, 6 * share, generator=name),
            _process(name, "SIGTERM", processes.ended, 0, 5, 3 * share),
            _process(name, "SIGSTOP", processes.frozen, 45, 45, 3 * share, CREATES),
        )
    ]


def _of_services() -> list[Fault]:
    return [
        _process("jobs", "SIGKILL", processes.killed, 0, 10, 2),
        _process("jobs", "SIGTERM", processes.ended, 0, 5, 2),
        _process("jobs", "SIGSTOP", processes.frozen, 10, 45, 1, CREATES),
        _process("gateway", "SIGKILL", processes.killed, 0, 10, 2),
        _process("gateway", "SIGTERM", processes.ended, 0, 5, 2),
        _process("gateway", "SIGSTOP", processes.frozen, 10, 45, 1),
    ]


def _of_servers() -> list[Fault]:
    async def terminated(system: Soaked, seconds: float) -> None:
        """Every session, once a second: the pool never comes to rest."""
        statement = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        for _ in range(max(1, round(seconds))):
            await asyncio.to_thread(system.stack.servers.postgresql.execute, statement, system.database)
            await asyncio.sleep(min(1.0, seconds))

    return [
        _process("rabbitmq", "SIGKILL", processes.killed, 0, 20, 2),
        _process("rabbitmq", "SIGTERM", processes.ended, 0, 10, 1),
        _process("rabbitmq", "SIGSTOP", processes.frozen, 10, 45, 1),
        _process("postgresql", "SIGKILL", processes.killed, 0, 10, 1.5),
        _process("postgresql", "fast shutdown", processes.ended, 0, 10, 1.5),
        _process("postgresql", "SIGSTOP", processes.frozen, 5, 15, 1, CREATES),
        Fault(
            "postgresql: sessions terminated", terminated, 3, 8, frozenset({"postgresql"}), 1.5, "postgresql: sessions terminated"
        ),
        _process("s3", "SIGKILL", processes.killed, 20, 60, 2),
        _process("s3", "SIGSTOP", processes.frozen, 10, 45, 1),
    ]


LINKS = (
    ("gateway → jobs", "gateway"),
    ("generators → jobs", "generators"),
    ("jobs → PostgreSQL", "postgresql"),
    ("jobs → RabbitMQ", "rabbitmq"),
    ("generators → RabbitMQ", "rabbitmq"),
    ("generators → S3", "s3"),
    ("gateway → S3", "s3"),
    ("generators → Replicate", "replicate"),
    ("Replicate → gateway", "gateway"),
)
"""Each link, and what is better left alone while it is broken."""


def _of_links() -> list[Fault]:
    spoilt: list[tuple[str, Callable[[Proxy], None], float, float]] = [
        ("latency", lambda link: link.latency(0.5), 10, 30),
        ("thin", lambda link: link.bandwidth(10_000), 10, 30),
        ("black hole", lambda link: link.black_hole(), 10, 25),
        ("answers lost", lambda link: link.black_hole(Way.DOWN), 10, 25),
        ("held up", lambda link: link.hold(), 5, 25),
        ("resetting", lambda link: link.resetting(), 5, 15),
        ("refused", lambda link: link.refuse(), 5, 15),
    ]

    def strike(name: str, spoil: Callable[[Proxy], None]) -> Strike:
        async def spoiled(system: Soaked, seconds: float) -> None:
            link = system.links[name]
            await asyncio.to_thread(spoil, link)
            try:
                await asyncio.sleep(seconds)
            finally:
                await asyncio.to_thread(link.heal)
                await asyncio.to_thread(link.reset)  # a silent connection that the far end still believes in ends some day

        return spoiled

    slow = {"latency", "thin", "held up"}
    faults = []
    for name, other in LINKS:
        for what, spoil, least, most in spoilt:
            occupies = {name, other} | ({CREATES} if name == "generators → Replicate" and what in slow else set())
            faults.append(Fault(f"{name}: {what}", strike(name, spoil), least, most, frozenset(occupies), 0.3, f"links: {what}"))
    return faults


def _of_replicate() -> list[Fault]:
    interrupted = {"status": "failed", "error": "Prediction interrupted; please retry (code: PA)"}
    rejected = {"status": "failed", "error": "NSFW content detected. (E005)"}
    answer = {"effect": "create_answer", "probability": 0.5}
    read = {"effect": "read_answer", "probability": 0.5}
    ends = {"effect": "prediction_ends"}
    return [
        _rule("creates reset after accepting", {"effect": "create_reset", "accepted": True, "probability": 0.5}, 3, 12, 2),
        _rule("creates reset before accepting", {"effect": "create_reset", "accepted": False, "probability": 0.5}, 3, 12, 1.5),
        _rule("creates answered late", {"effect": "create_late", "seconds": 40, "probability": 0.5}, 3, 12, 1.5, CREATES),
        _rule("creates made behind a 502", {**answer, "answer": "bad_gateway", "accepted": True}, 3, 12, 1.5),
        _rule("creates answered 503", {**answer, "answer": "service_unavailable"}, 3, 12, 1),
        _rule("429", {**answer, "answer": "throttled_about", "retry_after": 2}, 3, 12, 1.5),
        _rule("402", {**answer, "answer": "insufficient_credit", "times": 1}, 1, 2, 0.5),
        _rule("predictions interrupted", {**ends, **interrupted, "probability": 0.4}, 5, 20, 1.5),
        _rule("predictions rejected", {**ends, **rejected, "probability": 0.2}, 5, 20, 0.7),
        _rule("predictions aborted", {**ends, "status": "aborted", "probability": 0.3}, 5, 20, 1),
        _rule("predictions canceled unasked", {**ends, "status": "canceled", "probability": 0.1}, 5, 20, 0.5),
        _rule("predictions slow", {"effect": "prediction_duration", "seconds": 40, "probability": 0.5}, 5, 20, 1.5),
        _rule("a status that nobody knows", {"effect": "prediction_status", "status": "queued", "seconds": 20}, 3, 10, 0.7),
        _rule("the list lags", {"effect": "list_lag", "seconds": 15}, 5, 20, 1.5, CREATES),
        _rule("reads answered 500", {**read, "answer": "internal_error"}, 5, 20, 1),
        _rule("reads answered 429", {**read, "answer": "throttled", "retry_after": 2}, 5, 20, 1),
        _rule("reads slow", {"effect": "read_slow", "seconds": 3}, 5, 20, 1),
        _rule("reads reset", {"effect": "read_reset", "probability": 0.5}, 5, 20, 1),
        _rule("files slow", {"effect": "file_slow", "seconds": 5}, 5, 20, 1),
        _rule("files cut off", {"effect": "file_truncated", "probability": 0.4}, 5, 15, 1),
        _rule("files without a length", {"effect": "file_chunked"}, 5, 20, 0.7),
        _rule("files answered 503", {"effect": "file_answer", "status": 503, "probability": 0.7}, 5, 20, 1),
    ]


SCALED = ("seconds", "retry_after")
"""Fields of rules that are times."""


def _rule(name: str, rule: dict[str, Any], least: float, most: float, weight: float, *more: str) -> Fault:
    async def strike(system: Soaked, seconds: float) -> None:
        scaled: Rule = {key: value * system.settings.scale if key in SCALED else value for key, value in rule.items()}
        async with system.replicate.on(scaled):
            await asyncio.sleep(seconds)

    occupies = frozenset({f"rule {rule['effect']}", *more})
    return Fault(f"Replicate: {name}", strike, least, most, occupies, weight, f"Replicate: {name}")


def _process(
    name: str,
    signal: str,
    how: Callable[[Soaked, str, float], Awaitable[None]],
    least: float,
    most: float,
    weight: float,
    *more: str,
    generator: str = "",
) -> Fault:
    kind = "generators" if name.startswith("generator-") else name
    # While one generator is down another one has to be there, or nothing would show how fast its work moves on.
    occupies = frozenset({name, kind, *more})
    return Fault(
        f"{name}: {signal}", lambda system, seconds: how(system, name, seconds), least, most, occupies, weight,
        f"{kind}: {signal}", generator,
    )  # fmt: skip
