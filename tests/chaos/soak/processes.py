"""Faults of processes: killed, asked to end, frozen; and started again, as an orchestrator would."""

import asyncio
import signal
import time

import orjson

import processes
from chaos.soak.system import Soaked
from history.evidence import moment
from part import Part, PartFailed

START_SECONDS = 180.0
"""How long a part may take to come up while others are down."""

LOG_READ_BYTES = 1 << 20


def part_of(system: Soaked, name: str) -> Part:
    """A part of the stack, or one of its servers."""
    servers = {"rabbitmq": "rabbitmq", "postgresql": "postgresql", "s3": "object_store"}
    return getattr(system.stack.servers, servers[name]) if name in servers else system.stack.parts[name]


async def killed(system: Soaked, name: str, seconds: float) -> None:
    """SIGKILL, and a start after that time."""
    await asyncio.to_thread(part_of(system, name).kill)
    await asyncio.sleep(seconds)
    await started(system, name)


async def ended(system: Soaked, name: str, seconds: float) -> None:
    """SIGTERM, and a start after that time. Raises AssertionError where it had to be killed at the end of its grace."""
    part = part_of(system, name)
    began = time.monotonic()
    await asyncio.to_thread(part.stop)
    took = time.monotonic() - began
    await asyncio.sleep(seconds)
    await started(system, name)
    assert took < part.stop_seconds, f"{name} did not end within its grace of {part.stop_seconds:.0f} s"


async def frozen(system: Soaked, name: str, seconds: float) -> None:
    """SIGSTOP to the process and all that it started, and SIGCONT after that time."""
    pid = part_of(system, name).pid()
    family = processes.with_descendants(pid) if pid is not None else []
    try:
        for member in family:
            processes.send(member, signal.SIGSTOP)
        await asyncio.sleep(seconds)
    finally:
        for member in family:
            processes.send(member, signal.SIGCONT)


async def started(system: Soaked, name: str) -> None:
    """Starts the part, again and again where it cannot start yet because another one is down."""
    part = part_of(system, name)
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            await asyncio.to_thread(part.start)
            await asyncio.to_thread(part.wait, START_SECONDS)
            return
        except PartFailed:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(1)


def last_grant(part: Part) -> tuple[str, int] | None:
    """Job and epoch that this generator was granted last: what tells which worker of the history its process is."""
    since = time.time() - (time.monotonic() - (part.started_at or 0.0))
    with part.log_file.open("rb") as log:
        log.seek(max(0, part.log_file.stat().st_size - LOG_READ_BYTES))
        for line in reversed(log.read().splitlines()[1:]):
            if b'"job.granted"' in line:
                told = orjson.loads(line)
                return (told["job_id"], told["epoch"]) if moment(told["timestamp"]) >= since else None
    return None
