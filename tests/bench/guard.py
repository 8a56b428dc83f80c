"""What a job costs, in a short flood and a short quiet hour: a change that makes it dearer is seen without a quiet machine."""

import json
import statistics
from pathlib import Path
from typing import NamedTuple

from bench.limits import bare_requests
from bench.measure import begun, completed
from bench.rig import rig
from bench.run import Run
from bench.settings import Settings
from bench.subjects import Workers
from servers import Servers

RECORDED = Path(__file__).with_name("guard.json")

SECONDS = 2.0
ROUNDS = 3
QUIET_RATE = 20.0
"""Jobs a second of the quiet hour: each comes by itself, and costs what it costs on any machine."""

LEAST = {"quiet messages": 0.1, "messages": 0.09}
"""What counts as recorded at least: most jobs begin without a message, but those that find no slot held out do not."""

NOISE = {
    "quiet statements": 0.2,
    "quiet messages": 0.2,
    "quiet rpcs": 0.2,
    "statements": 1.0,
    "messages": 1.0,
    "rpcs": 1.0,
    "CPU of bare requests": 0.35,
}
"""How far above what was recorded each may be, as a share of it. Without anybody beside it a job costs what it costs; in a flood
counts move with the size of batches, and so with the machine, but double where something is not batched any more. A flood's CPU is
told in requests to a bare server, as no two processors are alike."""


class Compared(NamedTuple):
    """One figure."""

    name: str
    value: float
    """The median of the rounds."""
    at_most: float
    """The recorded value and its noise."""


async def figures(servers: Servers) -> dict[str, float]:
    """Measures them on these servers."""
    async with rig(servers) as running:
        run = Run(Settings(seconds=SECONDS, rounds=ROUNDS, peers=()), running, lambda line: print(line, flush=True))
        await run.by_turns("b", "guard", "jobs/s", [running.ours], lambda subject: completed(run, subject, Workers()))
        await run.by_turns("j", "guard", "jobs/s", [running.ours], lambda subject: begun(run, subject, Workers(), QUIET_RATE))
        bare = [sum((await bare_requests(run, "starlette", "POST")).cpu.values()) for _ in range(ROUNDS)]
        flood, quiet = (run.book.line(row, "guard", running.ours.name) for row in ("b", "j"))
    assert flood is not None
    assert quiet is not None
    alone = {f"quiet {name}": count for name, count in quiet.parts("counts").items()}
    return {**flood.parts("counts"), **alone, "CPU of bare requests": flood.median("cpu") / statistics.median(bare)}


def compared(measured: dict[str, float]) -> list[Compared]:
    """Each beside what was recorded."""
    recorded = json.loads(RECORDED.read_text())
    usual = {name: max(recorded[name], LEAST.get(name, 0.0)) for name in NOISE}
    return [Compared(name, measured[name], usual[name] * (1 + noise)) for name, noise in NOISE.items()]


def record(measured: dict[str, float]) -> None:
    """Keeps them as what later runs are held to."""
    RECORDED.write_text(json.dumps({name: round(measured[name], 4) for name in NOISE}, indent=1) + "\n")
