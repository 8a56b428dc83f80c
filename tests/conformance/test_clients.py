"""Both official clients, unmodified and in their own environments, are the judges of the simulator as it is started."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

import bootstrap
from waiting import wait_until

from .environments import CLIENTS, run

MUST_WORK = {"create", "get", "wait", "run", "cancel", "list_pages", "files", "validate_webhooks"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def simulator() -> Iterator[str]:
    """The URL of a simulator in a process of its own."""
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": f"{bootstrap.ROOT}/services:{bootstrap.ROOT}/protos/gen",
        "SIMULATOR_LISTEN": f"127.0.0.1:{port}",
        "SIMULATOR_FILES_LISTEN": f"127.0.0.1:{free_port()}",
        "SIMULATOR_CONTROL": "true",
        "SIMULATOR_PREDICT_SECONDS": "0.3",
        "SIMULATOR_CREATES_PER_MINUTE": "0",
    }
    process = subprocess.Popen([sys.executable, "-m", "simulator"], env=environment)
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        assert process.poll() is None
        try:
            return httpx.get(f"{url}/readyz").status_code == 200
        except httpx.ConnectError:
            return False

    wait_until(ready, 60)
    yield url
    process.terminate()
    assert process.wait(timeout=20) == 0


@pytest.mark.parametrize("client", CLIENTS)
def test_the_official_client_can_do_with_the_simulator_what_it_can_do_with_replicate(simulator, client):
    ended = run(client, simulator, free_port())
    went_well = set(ended.stdout.splitlines())
    assert ended.returncode == 0, f"replicate {CLIENTS[client]}:\n{ended.stdout}\n{ended.stderr}"
    assert went_well >= MUST_WORK
