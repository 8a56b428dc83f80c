"""The process: it says in one line why it cannot start, and ends cleanly on SIGTERM, after the requests that are open."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from ports import any_free_port

ROOT = Path(__file__).parents[3]
S3 = {"GATEWAY_S3_ENDPOINT": "http://127.0.0.1:9", "GATEWAY_S3_ACCESS_KEY": "key", "GATEWAY_S3_SECRET_KEY": "very-secret"}


def spawn(**settings: str) -> subprocess.Popen[str]:
    ports = {"GATEWAY_LISTEN": f"127.0.0.1:{any_free_port()}", "GATEWAY_METRICS_LISTEN": f"127.0.0.1:{any_free_port()}"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    environment = {**inherited, "PYTHONPATH": f"{ROOT}/services:{ROOT}/protos/gen", **S3, **ports, **settings}
    return subprocess.Popen([sys.executable, "-m", "gateway"], env=environment, stderr=subprocess.PIPE, text=True)


def test_it_serves_without_jobs_says_that_it_is_not_ready_and_ends_with_code_0_on_sigterm():
    api, metrics, nobody = any_free_port(), any_free_port(), any_free_port()
    process = spawn(
        GATEWAY_LISTEN=f"127.0.0.1:{api}", GATEWAY_METRICS_LISTEN=f"127.0.0.1:{metrics}", GATEWAY_JOBS_ADDRESS=f"127.0.0.1:{nobody}"
    )
    give_up = time.monotonic() + 60
    while True:
        try:
            assert httpx.get(f"http://127.0.0.1:{api}/livez").status_code == 200
            break
        except httpx.ConnectError:
            assert time.monotonic() < give_up and process.poll() is None
            time.sleep(0.05)
    for port in (api, metrics):
        answer = httpx.get(f"http://127.0.0.1:{port}/readyz")
        assert answer.status_code == 503 and answer.text == "jobs does not answer"
    assert "mediagen_http_requests_total" in httpx.get(f"http://127.0.0.1:{metrics}/metrics").text
    assert httpx.get(f"http://127.0.0.1:{api}/metrics").status_code == 404
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in errors and "very-secret" not in errors


def test_a_wrong_setting_stops_the_start_with_one_line_and_code_2():
    process = spawn(GATEWAY_MAX_BODY_BYTES="lots")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert len(errors.splitlines()) == 1 and errors.startswith("GATEWAY_MAX_BODY_BYTES: ")


def test_a_taken_port_is_one_line_and_code_2():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = spawn(GATEWAY_LISTEN=address)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.splitlines()[-1].startswith(f"cannot listen on {address}") and "Traceback" not in errors
