"""Ports on the loopback interface: a setting, else the one used last time, else the default or the next free one.

Only ports below 32768 are taken: those above are handed by the kernel to outgoing connections, at random.
"""

import json
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path

LIMIT = 32768
# Setting: the part that listens there, and the port where nothing else is said.
PORTS = {
    "GATEWAY_PORT": ("gateway", 8080),
    "GATEWAY_METRICS_PORT": ("gateway", 9100),
    "SIMULATOR_PORT": ("simulator", 8090),
    "SIMULATOR_FILES_PORT": ("simulator", 8091),
    "JOBS_PORT": ("jobs", 15051),
    "JOBS_WORKER_PORT": ("jobs", 15052),
    "JOBS_METRICS_PORT": ("jobs", 9101),
    "S3_PORT": ("s3", 19000),
    "POSTGRESQL_PORT": ("postgresql", 15432),
    "RABBITMQ_PORT": ("rabbitmq", 15772),
    "RABBITMQ_DIST_PORT": ("rabbitmq", 15773),
    "EPMD_PORT": ("epmd", 15774),
}
FIRST_GENERATOR_METRICS_PORT = 9110


class PortRefused(Exception):
    """A port that the user asked for cannot be had; the message names the setting."""


class Ports:
    """The ports of one instance, remembered in a file of its folder."""

    def __init__(self, memory: Path, runs: Callable[[str], bool]) -> None:
        """`memory` is the file; `runs` says whether a part of this instance runs, and so holds its port rightly."""
        self._memory = memory
        self._runs = runs
        self._chosen = remembered(memory)
        self._given_out: dict[str, int] = {}

    def get(self, setting: str) -> int:
        """The port for a setting such as GATEWAY_PORT; raise PortRefused if it was asked for and is taken."""
        if setting not in self._given_out:
            self._given_out[setting] = self._choose(setting)
        return self._given_out[setting]

    def _choose(self, setting: str) -> int:
        part, default = _described(setting)
        last = self._chosen.get(setting)
        held = last if self._runs(part) else None
        port = self._asked_for(setting, held) or held or self._free_from(last or default)
        if port != last:
            self._chosen[setting] = port
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            self._memory.write_text(json.dumps(self._chosen, indent=2, sort_keys=True) + "\n")
        return port

    def _asked_for(self, setting: str, held: int | None) -> int | None:
        text = os.environ.get(setting, "")
        if not text:
            return None
        if not text.isdecimal() or not 0 < int(text) < 65536:
            raise PortRefused(f"{setting}={text} is no port: a number from 1 to 65535 is needed")
        port = int(text)
        if port in self._given_out.values() or not (port == held or is_free(port)):
            raise PortRefused(f"{setting}={port}: that port is taken by something else; choose another one")
        return port

    def _free_from(self, first: int) -> int:
        for port in range(first, LIMIT):
            if port not in self._given_out.values() and is_free(port):
                return port
        raise PortRefused(f"no port from {first} to {LIMIT - 1} is free")


def remembered(memory: Path) -> dict[str, int]:
    """The ports that the settings had last time."""
    chosen: dict[str, int] = json.loads(memory.read_text()) if memory.exists() else {}
    return chosen


def _described(setting: str) -> tuple[str, int]:
    """The part that uses a port, and the port's default; generator N has GENERATOR_N_METRICS_PORT."""
    if setting in PORTS:
        return PORTS[setting]
    number = int(setting.removeprefix("GENERATOR_").removesuffix("_METRICS_PORT"))
    return f"generator-{number}", FIRST_GENERATOR_METRICS_PORT + number - 1


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_handed_out: set[int] = set()


def any_free_port() -> int:
    """A free port for a test's server: from the middle of the range, at random, and never twice in one run of the tests.

    What is handed out is often not bound yet, or not bound just now: processes that share the tests have ports of their own.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = random.randrange(20000, LIMIT)  # noqa: S311  nothing secret: it keeps two sessions apart
        if port % processes == number and port not in _handed_out and is_free(port):
            _handed_out.add(port)
            return port
