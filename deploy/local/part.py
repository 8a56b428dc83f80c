"""One process of the system: started in the background, found again by its pid file, and ended for certain.

An instance of the system is a folder: its `run/NAME.pid` and `log/NAME.log` belong to the part called NAME.
"""

import hashlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import processes

LOG_TAIL_LINES = 20
LOG_LIMIT_BYTES = 20 * 1024 * 1024
POLL_SECONDS = 0.05
READY_SECONDS = 120.0  # a small machine that is busy with all the other parts
NOT_INHERITED = (
    *("GATEWAY_", "JOBS_", "GENERATOR_", "SIMULATOR_", "MEDIAGEN_", "REPLICATE_", "MAKE", "MFLAGS"),
    *("PG", "RABBITMQ_", "ERL_", "EPMD_", "RCLONE_"),  # a user's settings of their own servers and clients
)
# Children of this very process have to be reaped by it, or they stay as zombies (a test session lives long).
_children: list[subprocess.Popen[bytes]] = []
_children_lock = threading.Lock()


class PartFailed(Exception):
    """A part ended at its start, or was not ready in time; the message shows the end of its log."""


class Part:
    """A process with a name: `start` is idempotent, `stop` asks it to end, `kill` ends it as a crash would.

    `environment` is added to `inherited_environment()`. `is_ready` is asked until it says yes.
    """

    def __init__(
        self,
        state: Path,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        is_ready: Callable[[], bool],
        *,
        address: str = "",
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_seconds: float = 30,
    ) -> None:
        """Describe the process; nothing is started yet. `address` is what a person would connect to."""
        self.state = state
        self.name = name
        self.command = list(command)
        self.environment = dict(environment)
        self.is_ready = is_ready
        self.address = address
        self.stop_signal = stop_signal
        self.stop_seconds = stop_seconds
        self.pid_file = state / "run" / f"{name}.pid"
        self.log_file = state / "log" / f"{name}.log"
        self.started_at: float | None = None  # by the monotonic clock, if this object started the process
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def prepare(self) -> None:
        """Do what the first start needs (a data folder, a configuration); called before each start."""

    def pid(self) -> int | None:
        """The id of the live process of this part, if there is one and it is ours."""
        try:
            pid = int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None
        reap()
        return pid if processes.belongs_to(pid, self.state, self.name) else None

    def exit_code(self) -> int | None:
        """How the process that this object started last has ended: below 0 by a signal, None where it has not."""
        if self._child is None or self.pid() is not None:
            return None
        return self._child.wait(POLL_SECONDS * 100)  # at its very end a process is nobody's any more, and not over yet

    def launch_id(self) -> str:
        """What tells one way to start this part from another: a running one with another id is restarted."""
        described = repr((self.command, sorted(self.environment.items())))
        return hashlib.sha256(described.encode()).hexdigest()[:16]

    def start(self) -> bool:
        """Start the process unless it runs already as described; say whether it was started."""
        running = self.pid()
        if running is not None:
            if processes.environment(running).get(processes.LAUNCH_VARIABLE) == self.launch_id():
                return False
            self.stop()
        self.prepare()
        for folder in (self.pid_file.parent, self.log_file.parent):
            folder.mkdir(parents=True, exist_ok=True)
        if self.log_file.exists() and self.log_file.stat().st_size > LOG_LIMIT_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        marks = {
            processes.STATE_VARIABLE: str(self.state),
            processes.PART_VARIABLE: self.name,
            processes.LAUNCH_VARIABLE: self.launch_id(),
        }
        with self.log_file.open("ab") as log:
            self._log_start = log.tell()
            child = subprocess.Popen(
                self.command,
                env=inherited_environment() | self.environment | marks,
                cwd="/",  # nothing may depend on where make was called, and another user may not enter that folder
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C at the terminal is for make, not for the system
            )
        self.started_at = time.monotonic()
        self._child = child
        with _children_lock:
            _children.append(child)
        while not processes.belongs_to(child.pid, self.state, self.name) and child.poll() is None:
            time.sleep(0)  # the kernel shows a process' own environment a moment after it was started
        self.pid_file.write_text(f"{child.pid}\n")
        return True

    def check(self) -> bool:
        """Whether the part is ready by now; raise PartFailed, with the end of its log, if it has ended."""
        if self.is_ready():
            return True
        if self.pid() is None:
            raise self.failure("ended at its start")
        return False

    def wait(self, seconds: float = READY_SECONDS) -> None:
        """Wait until the part is ready; raise PartFailed if it ends or time runs out."""
        deadline = time.monotonic() + seconds
        while not self.check():
            if time.monotonic() > deadline:
                raise self.failure(f"was not ready within {seconds:.0f} s")
            time.sleep(POLL_SECONDS)

    def failure(self, what: str) -> PartFailed:
        """The error that says what happened to this part, and shows what it logged last."""
        return PartFailed(f"{self.name} {what}; the end of {self.log_file}:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """The last lines that the process wrote since this object started it."""
        if not self.log_file.exists():
            return "(nothing was logged)"
        with self.log_file.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:]) or "(nothing was logged)"

    def stop(self) -> None:
        """Ask the process to end, and end it by force when its time is over."""
        stop_together([self])

    def kill(self) -> None:
        """End the process and all that it started at once, as a crash would; the pid file stays, as after a crash."""
        pid = self.pid()
        if pid is not None:
            family = processes.with_descendants(pid)
            for member in family:
                processes.send(member, signal.SIGKILL)
            while self.pid() is not None or any(processes.is_alive(member) for member in family[1:]):
                time.sleep(POLL_SECONDS)


def reap() -> None:
    """Take note of the children that have ended, whoever ended them; other threads may do so as well."""
    with _children_lock:
        _children[:] = [child for child in _children if child.poll() is None]


def inherited_environment() -> dict[str, str]:
    """What a part gets of the caller's environment: not make's own variables, nor what one certain part is told.

    A token for Replicate or a password in GENERATOR_S3_SECRET_KEY is the generator's alone.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}


def stop_together(parts: Sequence[Part]) -> None:
    """Ask all of these to end at the same time; return when the last one is gone."""
    asked = [(part, part.pid(), time.monotonic() + part.stop_seconds) for part in parts]
    for part, pid, _ in asked:
        if pid is not None:
            processes.send(pid, part.stop_signal)
    for part, pid, deadline in asked:
        family = processes.with_descendants(pid) if pid is not None else []
        while part.pid() is not None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        for member in family:
            if processes.belongs_to(member, part.state):
                processes.send(member, signal.SIGKILL)
        while part.pid() is not None:
            time.sleep(POLL_SECONDS)
        part.pid_file.unlink(missing_ok=True)
