"""What /proc tells about processes: which live, which are ours, and which started which.

A process of this project carries two variables in its environment: MEDIAGEN_STATE, the folder of the instance it
belongs to, and MEDIAGEN_PART, its name there. A pid file alone may name a stranger once the number was reused.
"""

import contextlib
import os
import signal
from pathlib import Path

STATE_VARIABLE = "MEDIAGEN_STATE"
PART_VARIABLE = "MEDIAGEN_PART"
LAUNCH_VARIABLE = "MEDIAGEN_LAUNCH"


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and only waits to be reaped does not."""
    return _stat(pid)[0] not in ("", "Z", "X")


def environment(pid: int) -> dict[str, str]:
    """The variables the process was started with; empty where it is gone or another user's."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition("=") for item in raw.decode(errors="replace").split("\0") if "=" in item)
    return {name: value for name, _, value in pairs}


def belongs_to(pid: int, state: Path, part: str | None = None) -> bool:
    """Whether the process lives and was started for this instance (and, where named, as this part of it)."""
    if not is_alive(pid):
        return False
    variables = environment(pid)
    return variables.get(STATE_VARIABLE) == str(state) and part in (None, variables.get(PART_VARIABLE))


def of_instance(state: Path) -> list[int]:
    """Every live process that was started for this instance, with or without a pid file."""
    own = os.getpid()
    return [pid for pid in _all() if pid != own and belongs_to(pid, state)]


def with_descendants(pid: int) -> list[int]:
    """The process and everything it started, directly or not."""
    children: dict[int, list[int]] = {}
    for candidate in _all():
        children.setdefault(_stat(candidate)[1], []).append(candidate)
    found = [pid]
    for member in found:
        found.extend(children.get(member, []))
    return found


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; that the process is already gone is what most signals ask for anyway."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _all() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> tuple[str, int]:
    """State letter and parent of a process, ("", 0) where there is none."""
    try:
        # The command name in brackets may hold spaces and brackets itself: what follows the last one counts.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return "", 0
    return fields[0], int(fields[1])
