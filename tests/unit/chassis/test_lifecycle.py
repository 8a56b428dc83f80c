"""A service's start and end, in a process of its own: what a signal does while it starts, and what a second one does."""

import json
import signal
import subprocess
import sys
from pathlib import Path

SERVICES = Path(__file__).parents[3] / "services"

STARTS_FOR_EVER = """
import asyncio
from contextlib import AsyncExitStack
from chassis.lifecycle import Lifecycle, run

async def main():
    async with AsyncExitStack() as stack:
        stack.callback(print, "closed", flush=True)
        await stack.enter_async_context(Lifecycle())
        print("starting", flush=True)
        await asyncio.Event().wait()

run(main)
"""

DRAINS_UNTIL_TOLD = """
import asyncio, sys
from chassis.lifecycle import Lifecycle, run

async def main():
    async with Lifecycle() as life:
        print("started", flush=True)
        await life.until_stopped()
        print("draining", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print("drained", flush=True)
    return life.exit_code

run(main)
"""


FAILS = """
from chassis.lifecycle import run
from chassis.telemetry import configure_logging

async def main():
    configure_logging("tester", "info")
    raise RuntimeError("broken")

run(main)
"""


def start(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(SERVICES)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(service: subprocess.Popen[str]) -> str:
    assert service.stdout is not None
    return service.stdout.readline().strip()


def test_a_signal_during_the_start_ends_the_service_at_once_and_closes_what_it_had_opened():
    with start(STARTS_FOR_EVER) as service:
        assert said(service) == "starting"
        service.send_signal(signal.SIGTERM)
        assert said(service) == "closed"
        assert service.wait(60) == 0


def test_a_second_signal_does_not_cut_the_drain_short():
    with start(DRAINS_UNTIL_TOLD) as service:
        assert said(service) == "started"
        service.send_signal(signal.SIGTERM)
        assert said(service) == "draining"
        service.send_signal(signal.SIGTERM)
        service.communicate("\n", timeout=60)
        assert service.returncode == 0


def test_what_nobody_foresaw_is_one_line_of_json_and_code_1():
    ended = subprocess.run(
        [sys.executable, "-c", FAILS], env={"PYTHONPATH": str(SERVICES)}, capture_output=True, text=True, check=False
    )
    [line] = [json.loads(line) for line in ended.stderr.splitlines()]
    assert (ended.returncode, line["event"], line["level"]) == (1, "service.failed", "critical")
    assert line["exception"][0]["exc_value"] == "broken"
