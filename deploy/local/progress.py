"""Runs a slow command with one visible line of progress; what the command prints goes to a log file.

Standard library only: the bootstrap uses this before anything is installed.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

LOG_TAIL_LINES = 15
TICK_SECONDS = 1.0


class StepFailed(Exception):
    """A command of the set-up failed; the message is what the person at the terminal should read."""


def run_step(title: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run `command` and show `title` with the seconds it takes; raise StepFailed with the log's end if it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("ab") as output:
        output.write(f"\n### {title}\n$ {' '.join(command)}\n".encode())
        output.flush()
        _show(f"… {title}", final=not sys.stdout.isatty())
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
        while True:
            try:
                code = process.wait(TICK_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if sys.stdout.isatty():
                    _show(f"… {title} ({time.monotonic() - started:.0f} s)", final=False)
    if code != 0:
        _show(f"✗ {title}", final=True)
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        raise StepFailed(f"{tail}\n\n{title} failed (exit code {code}); the whole output is in {log}")
    _show(f"✓ {title} ({time.monotonic() - started:.0f} s)", final=True)


def _show(line: str, *, final: bool) -> None:
    """Print a line; on a terminal, a line that is not final is overwritten by the next one."""
    start, end = ("\r\x1b[2K", "\n" if final else "") if sys.stdout.isatty() else ("", "\n")
    print(f"{start}{line}", end=end, flush=True)
