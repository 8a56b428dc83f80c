"""What is measured: something that takes jobs over HTTP and has them worked on. mediagen is one (ours.py), each peer another."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.starts import PROMPT
from bench.wire import SENT

CREATE_PATH = "/api/v1/generate"
STATUS_PATH = "/api/v1/status/"
"""The first design's paths, which mediagen keeps: all of them are asked in the same words."""

BODY = json.dumps(
    {
        "prompt": f"{PROMPT}{SENT}, oil on canvas, a calm sea and a first star above it",
        "model": "black-forest-labs/flux-schnell",
        "parameters": {"aspect_ratio": "16:9", "megapixels": "0.25", "num_outputs": 1, "output_format": "png", "seed": 1234567},
    }
)
"""A job as people post it, about 260 bytes. Its prompt tells when it was sent."""

BASE = 20_000
"""Finished jobs that every table holds before a measurement: PostgreSQL plans for a table in use, not for an empty one."""


@dataclass(frozen=True)
class Workers:
    """What works on jobs, beyond one process with the settings of the subject's own choice. Peers have one form alone."""

    count: int = 1
    slots: int = 500
    """Jobs that each holds at a time."""
    predict_seconds: float = 0.0
    """How long the provider takes."""
    full_path: bool = False
    """Whether provider and bucket are the simulator and S3, over the network, instead of doubles in the generator's process."""
    webhooks: bool = True
    """Whether the simulator tells of ends; otherwise it is polled."""


class Subject(Protocol):
    """As the rows use it."""

    name: str
    port: int
    """Of its API on this machine."""
    further_ports: Sequence[int]
    """Of further processes that serve the same API, where there are several ports."""
    keys: Sequence[str]
    """API keys of one tenant each; none where it wants none."""
    starts: Path
    """Where its workers note how long after its sending each job was begun."""

    def owns(self, process: str) -> bool:
        """Whether a process of that name works for it."""

    async def working(self, workers: Workers | None) -> None:
        """Lets these workers, and no others, run from now on; none at all, where there are none given."""

    async def clean(self) -> None:
        """Leaves BASE finished jobs and an empty queue."""

    async def drained(self) -> bool:
        """Whether every job has ended."""

    async def finished_ids(self, count: int) -> list[str]:
        """Ids of finished jobs."""

    async def counters(self) -> dict[str, float]:
        """What the subject counts of itself, ever growing; nothing where it counts nothing."""
