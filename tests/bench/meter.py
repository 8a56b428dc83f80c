"""Who used how much CPU between two moments: whole process trees by name, and what was none of ours."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Reading:
    """The clocks of one moment, in seconds."""

    at: float
    by_name: dict[str, float]
    """CPU of each named tree since it began."""
    own: float
    """CPU of this process and its load generator."""
    machine: float
    """CPU of all processes; without the kernel's interrupts, which are mostly the packets between our own."""


@dataclass(frozen=True)
class Usage:
    """What passed between two readings."""

    seconds: float
    cpu: dict[str, float]
    """CPU seconds by name."""
    foreign: float
    """The share of the machine's CPU that others used."""


class Meter:
    """Reads the clocks of whatever runs."""

    def __init__(self, processes: Callable[[], Mapping[str, int]]) -> None:
        """`processes` tells the root of each tree by its name."""
        self._processes = processes
        self._self = psutil.Process()

    def read(self, generator: int | None = None) -> Reading:
        """The clocks now; `generator` is the process of a load generator that runs."""
        by_name = {name: _of_tree(pid) for name, pid in self._processes().items()}
        times = psutil.cpu_times()
        machine = times.user + times.nice + times.system + getattr(times, "steal", 0.0)
        own = _of_process(self._self) + (_of_tree(generator) if generator is not None else 0.0)
        return Reading(time.perf_counter(), by_name, own, machine)


def between(before: Reading, after: Reading) -> Usage:
    """The difference. A tree that began or ended meanwhile is left out."""
    cpu = {name: after.by_name[name] - spent for name, spent in before.by_name.items() if name in after.by_name}
    seconds = after.at - before.at
    others = (after.machine - before.machine) - sum(cpu.values()) - (after.own - before.own)
    return Usage(seconds, cpu, max(0.0, others) / (seconds * (psutil.cpu_count() or 1)))


def _of_tree(pid: int) -> float:
    """CPU seconds of a process and all that it started, those that have ended included: they are in their parents' clocks."""
    try:
        return sum(map(_of_process, _tree(pid)))
    except psutil.NoSuchProcess:
        return 0.0


def _of_process(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def proportional(pid: int) -> float:
    """MiB of memory that a process tree holds, where what several share is divided among them (PSS): shared buffers count once."""
    return sum(map(_share, _tree(pid))) / 2**20


def _share(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss)
    except psutil.NoSuchProcess:  # PostgreSQL's workers come and go
        return 0.0


def resident(pid: int) -> float:
    """MiB of memory that a process tree holds."""
    return float(sum(process.memory_info().rss for process in _tree(pid))) / 2**20


def _tree(pid: int) -> list[psutil.Process]:
    """A process and all that it started; raises NoSuchProcess."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]
