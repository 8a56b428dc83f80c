"""How long after its sending a job was begun: whoever works on it says so in a file, the bench reads it. Both are on one machine.

Standard library only: the peers' workers import it, too, in an environment of their own.
"""

import functools
import os
import re
import time
from pathlib import Path

VARIABLE = "BENCH_STARTS"
"""The file's path, in the environment of a worker."""

PROMPT = "a lighthouse at dusk, sent at "
"""How the prompt begins that a time follows."""

_SENT = re.compile(rf"{PROMPT}(\d+\.\d+)")


def note_start(text: str) -> None:
    """Notes that the job whose prompt is in `text` begins now."""
    if (file := _file()) is not None and (found := _SENT.search(text)):
        os.write(file, b"%.6f\n" % (time.time() - float(found[1])))


@functools.cache
def _file() -> int | None:
    path = os.environ.get(VARIABLE)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if path else None


def starts_after(path: Path, position: int) -> tuple[list[float], int]:
    """Seconds of every job that was begun since the file had `position` bytes, and how many of its bytes have been read now."""
    if not path.exists():
        return [], position
    with path.open("rb") as file:
        file.seek(position)
        read = file.read()
    whole = read[: read.rfind(b"\n") + 1]
    return [float(line) for line in whole.split()], position + len(whole)


def read_starts(path: Path) -> list[float]:
    """Seconds of every job that was begun since the file was last emptied."""
    return starts_after(path, 0)[0]
