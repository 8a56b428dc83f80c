"""The process: it starts with one command, says in one line why it can't, and ends cleanly on SIGTERM."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from .conftest import free_port

ROOT = Path(__file__).parents[3]


def spawn(**settings: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/services:{ROOT}/protos/gen", **settings}
    return subprocess.Popen([sys.executable, "-m", "simulator"], env=environment, stderr=subprocess.PIPE, text=True)


def test_it_serves_and_ends_with_code_0_on_sigterm():
    api, files = free_port(), free_port()
    process = spawn(SIMULATOR_LISTEN=f"127.0.0.1:{api}", SIMULATOR_FILES_LISTEN=f"127.0.0.1:{files}")
    give_up = time.monotonic() + 20
    while True:
        try:
            assert httpx.get(f"http://127.0.0.1:{api}/readyz").status_code == 200
            break
        except httpx.ConnectError:
            assert time.monotonic() < give_up and process.poll() is None
            time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


@pytest.mark.parametrize("variable", ["SIMULATOR_LISTEN", "SIMULATOR_FILES_LISTEN"])
def test_a_taken_port_is_one_line_and_code_2(variable):
    ports = {"SIMULATOR_LISTEN": free_port(), "SIMULATOR_FILES_LISTEN": free_port()}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[variable]))
        taken.listen()
        process = spawn(**{name: f"127.0.0.1:{port}" for name, port in ports.items()})
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert errors.splitlines()[-1].startswith(f"cannot listen on 127.0.0.1:{ports[variable]}")
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("variable", "value"), [("SIMULATOR_LISTEN", "8090"), ("SIMULATOR_PREDICT_SECONDS", "fast"), ("SIMULATOR_CONTROL", "perhaps")]
)
def test_a_wrong_setting_is_one_line_that_names_it_and_code_2(variable, value):
    process = spawn(**{variable: value})
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert len(errors.splitlines()) == 1
    assert errors.startswith(variable)
