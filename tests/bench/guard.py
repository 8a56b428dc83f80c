"""What a job costs in counts, in a short form of row b: a change that makes it dearer is seen without a quiet machine."""

import json
import statistics
from pathlib import Path
from typing import NamedTuple

from bench.limits import bare_requests
from bench.measure import completed
from bench.rig import rig
from bench.run import Run
from bench.settings import Settings
from bench.subjects import Workers
from servers import Servers

RECORDED = Path(__file__).with_name("guard.json")

SECONDS = 2.0
ROUNDS = 3

NOISE = {
    "statements": 0.3,
    "messages": 0.4,
    "rpcs": 0.3,
    "accept_commits": 0.4,
    "report_commits": 0.3,
    "CPU of bare requests": 0.35,
}
"""How far above what was recorded each may be, as a share of it. The counts move with the size of batches, which grow on a machine
that is busy with something else. A job's CPU is told in requests to a bare server, as no two processors are alike."""


class Compared(NamedTuple):
    """One figure."""

    name: str
    value: float
    """The median of the rounds."""
    at_most: float | None
    """The recorded value and its noise; None where nothing was recorded."""


async def figures(servers: Servers) -> dict[str, float]:
    """Measures them on these servers."""
    async with rig(servers) as running:
        run = Run(Settings(seconds=SECONDS, rounds=ROUNDS, peers=()), running, lambda line: print(line, flush=True))
        await run.by_turns("b", "guard", "jobs/s", [running.ours], lambda subject: completed(run, subject, Workers()))
        bare = [sum((await bare_requests(run, "starlette", "POST")).cpu.values()) for _ in range(ROUNDS)]
        line = run.book.line("b", "guard", running.ours.name)
    assert line is not None
    return {**line.parts("counts"), "CPU of bare requests": line.median("cpu") / statistics.median(bare)}


def compared(measured: dict[str, float]) -> list[Compared]:
    """Each beside what was recorded."""
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    return [
        Compared(name, measured[name], recorded[name] * (1 + noise) if name in recorded else None) for name, noise in NOISE.items()
    ]


def record(measured: dict[str, float]) -> None:
    """Keeps them as what later runs are held to."""
    RECORDED.write_text(json.dumps({name: round(measured[name], 4) for name in NOISE}, indent=1) + "\n")
