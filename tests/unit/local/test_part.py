"""A part is found again, told from a stranger, and ended for certain."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import part as part_module
import processes
from part import Part, PartFailed, inherited_environment, stop_together

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
]
PARENT = [
    sys.executable,
    "-c",
    "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(60)'])",
]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for pid in processes.of_instance(tmp_path):
        processes.send(pid, signal.SIGKILL)


def sleeper(state: Path, name: str = "sleeper", **settings: str) -> Part:
    return Part(state, name, SLEEP, settings, lambda: True)


def test_starting_twice_starts_once(state: Path) -> None:
    part = sleeper(state)
    assert part.start()
    pid = part.pid()
    assert not sleeper(state).start()
    assert part.pid() == pid == int((state / "run" / "sleeper.pid").read_text())


class Child:
    """A child that has ended, or not; the first look at it may make something happen."""

    def __init__(self, ended: int | None, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.ended, self.meanwhile = ended, meanwhile

    def poll(self) -> int | None:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return self.ended


def test_no_child_is_forgotten_where_two_threads_reap(monkeypatch: pytest.MonkeyPatch) -> None:
    other = threading.Thread(target=part_module.reap)

    def reap_elsewhere() -> None:
        other.start()
        other.join(timeout=1)

    living = [Child(None), Child(None)]
    monkeypatch.setattr(part_module, "_children", [Child(0, reap_elsewhere), *living])
    part_module.reap()
    other.join()
    assert part_module._children == living


def test_a_part_whose_settings_changed_is_started_anew(state: Path) -> None:
    first = sleeper(state, GENERATOR_SLOTS="1")
    first.start()
    pid = first.pid()
    second = sleeper(state, GENERATOR_SLOTS="2")
    assert second.start()
    assert second.pid() not in (None, pid)


def test_a_pid_file_that_names_a_stranger_is_not_believed(state: Path) -> None:
    stranger = subprocess.Popen(SLEEP)
    try:
        part = sleeper(state)
        part.pid_file.parent.mkdir()
        part.pid_file.write_text(str(stranger.pid))
        assert part.pid() is None
        part.stop()
        assert stranger.poll() is None  # stopping the part did not touch it
    finally:
        stranger.kill()
        stranger.wait()


def test_another_instances_part_of_the_same_name_is_not_ours(state: Path) -> None:
    ours, theirs = sleeper(state / "a"), sleeper(state / "b")
    theirs.start()
    ours.pid_file.parent.mkdir(parents=True)
    ours.pid_file.write_text(theirs.pid_file.read_text())
    assert ours.pid() is None
    theirs.stop()


def test_a_part_that_does_not_listen_is_ended_by_force(state: Path) -> None:
    part = Part(state, "stubborn", STUBBORN, {}, lambda: "deaf" in part.log_tail(), stop_seconds=0.3)
    part.start()
    part.wait(10)
    part.stop()
    assert part.pid() is None
    assert not part.pid_file.exists()


def test_a_killed_part_takes_what_it_started_along(state: Path) -> None:
    part = Part(state, "parent", PARENT, {}, lambda: "1" in part.log_tail())
    part.start()
    part.wait(10)
    pid = part.pid()
    assert pid is not None
    family = processes.with_descendants(pid)
    assert len(family) == 2
    part.kill()
    assert not any(processes.is_alive(member) for member in family)


def test_parts_are_asked_together(state: Path) -> None:
    parts = [sleeper(state, name) for name in ("one", "two", "three")]
    for part in parts:
        part.start()
    stop_together(parts)
    assert processes.of_instance(state) == []


def test_a_part_that_dies_at_its_start_shows_its_last_words(state: Path) -> None:
    part = Part(state, "mortal", [sys.executable, "-c", "raise SystemExit('no more ink')"], {}, lambda: False)
    part.start()
    with pytest.raises(PartFailed, match="no more ink"):
        part.wait(10)


def test_what_is_meant_for_one_part_reaches_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_secret")
    monkeypatch.setenv("GENERATOR_S3_SECRET_KEY", "secret")
    monkeypatch.setenv("MAKEFLAGS", "-j")
    inherited = inherited_environment()
    assert not {"REPLICATE_API_TOKEN", "GENERATOR_S3_SECRET_KEY", "MAKEFLAGS"} & set(inherited)
    assert inherited["PATH"] == os.environ["PATH"]
