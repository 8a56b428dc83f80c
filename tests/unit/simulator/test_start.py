"""The process: it starts with one command, says in one line why it can't, and ends cleanly on SIGTERM."""

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from waiting import wait_until

from .conftest import free_port

ROOT = Path(__file__).parents[3]


def spawn(**settings: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/services:{ROOT}/protos/gen", **settings}
    return subprocess.Popen([sys.executable, "-m", "simulator"], env=environment, stderr=subprocess.PIPE, text=True)


def wait_until_ready(process: subprocess.Popen[str], url: str) -> None:
    def ready() -> bool:
        assert process.poll() is None
        try:
            return httpx.get(f"{url}/readyz").status_code == 200
        except httpx.ConnectError:
            return False

    wait_until(ready, 60)


def test_it_serves_and_ends_with_code_0_on_sigterm_even_while_a_create_waits():
    api, files = free_port(), free_port()
    url = f"http://127.0.0.1:{api}"
    listen = {"SIMULATOR_LISTEN": f"127.0.0.1:{api}", "SIMULATOR_FILES_LISTEN": f"127.0.0.1:{files}"}
    process = spawn(SIMULATOR_CONTROL="true", **listen)
    wait_until_ready(process, url)
    httpx.put(f"{url}/control/faults", json={"rules": [{"effect": "create_late", "seconds": 60}]}).raise_for_status()
    body = {"version": "black-forest-labs/flux-schnell", "input": {"prompt": "a fox"}}
    with ThreadPoolExecutor(1) as thread:
        late = thread.submit(httpx.post, f"{url}/v1/predictions", json=body, headers={"Authorization": "Bearer x"}, timeout=30)
        wait_until(lambda: httpx.get(f"{url}/control/ledger").json()["creates"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        with pytest.raises(httpx.TransportError):
            late.result()
    errors = process.stderr.read()
    process.stderr.close()
    assert "xception" not in errors, errors


def test_it_ends_with_code_0_on_sigterm_while_webhooks_wait_and_are_under_way():
    api, files = free_port(), free_port()
    url = f"http://127.0.0.1:{api}"
    listen = {"SIMULATOR_LISTEN": f"127.0.0.1:{api}", "SIMULATOR_FILES_LISTEN": f"127.0.0.1:{files}"}
    process = spawn(SIMULATOR_CONTROL="true", SIMULATOR_PREDICT_SECONDS="60", SIMULATOR_QUEUE_SECONDS="0", **listen)
    wait_until_ready(process, url)
    with socket.socket() as mute:  # it is connected to, and never answers
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        webhook = f"http://127.0.0.1:{mute.getsockname()[1]}/"
        body = {"version": "black-forest-labs/flux-schnell", "input": {"prompt": "a fox"}, "webhook": webhook}
        for events in (["start"], ["completed"]):
            create = {**body, "webhook_events_filter": events}
            httpx.post(f"{url}/v1/predictions", json=create, headers={"Authorization": "Bearer x"}).raise_for_status()
        wait_until(lambda: httpx.get(f"{url}/control/ledger").json()["webhooks"]["sent"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    errors = process.stderr.read()
    process.stderr.close()
    assert "xception" not in errors, errors


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
