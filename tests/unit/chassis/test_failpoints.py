"""Failpoints cost nothing unarmed, strike once where they are armed, and say so before they do."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from chassis import failpoints
from chassis.failpoints import FailpointError, arm, failpoint, failpoint_within
from services import IMPORT_ROOTS


@pytest.fixture(autouse=True)
def disarmed():
    yield
    arm("")


def in_a_process(armed: str, code: str) -> subprocess.Popen[str]:
    """A service of these few lines, with failpoints armed as a test arms those of a real one."""
    script = f"""
from chassis.failpoints import failpoint
from chassis.lifecycle import run
from chassis.telemetry import configure_logging

async def main():
    configure_logging("tests", "error")
    {code}

run(main)
"""
    environment = {**os.environ, "PYTHONPATH": IMPORT_ROOTS, failpoints.VARIABLE: armed}
    command = [sys.executable, "-c", script]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_an_unarmed_failpoint_does_nothing():
    failpoint("a.b")
    arm("a.c=raise")
    failpoint("a.b")


def test_an_armed_one_raises_once():
    arm("a.b=raise")
    with pytest.raises(FailpointError, match=r"a\.b"):
        failpoint("a.b")
    failpoint("a.b")


def test_it_strikes_at_the_hit_that_was_named():
    arm("a.b=raise@3,a.c=raise")
    failpoint("a.b")
    failpoint("a.b")
    with pytest.raises(FailpointError):
        failpoint("a.c")
    with pytest.raises(FailpointError):
        failpoint("a.b")


async def test_within_a_call_it_strikes_while_the_call_lasts():
    arm("a.b=raise")
    with pytest.raises(FailpointError, match=r"a\.b"):
        async with failpoint_within("a.b", 0.01):
            await asyncio.Event().wait()
    assert asyncio.current_task().cancelling() == 0
    await asyncio.sleep(0)  # the cancellation is over with


async def test_a_call_that_ended_sooner_is_not_struck_and_the_next_one_is():
    arm("a.b=raise")
    async with failpoint_within("a.b", 60):
        pass
    with pytest.raises(FailpointError):
        async with failpoint_within("a.b", 0):
            await asyncio.Event().wait()


async def test_a_cancellation_from_elsewhere_stays_one():
    arm("a.b=raise")

    async def call() -> None:
        async with failpoint_within("a.b", 60):
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("armed", ["a.b", "a.b=", "a.b=die", "a.b=kill@0", "ab=kill", "A.b=kill", "a.b=kill,a.b=stop"])
def test_a_malformed_value_ends_the_start_with_one_line_and_code_2(armed):
    process = in_a_process(armed, "print('started')")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("MEDIAGEN_FAILPOINTS ")


def test_kill_ends_the_process_at_once_and_it_said_so_before():
    process = in_a_process("a.b=kill", "print('before', flush=True); failpoint('a.b'); print('after', flush=True)")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (-signal.SIGKILL, "before\n")
    assert '"event":"failpoint.reached"' in err
    assert '"failpoint":"a.b"' in err


def test_stop_freezes_the_process_until_it_is_continued():
    process = in_a_process("a.b=stop", "failpoint('a.b'); print('after', flush=True)")
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(signal.SIGCONT)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "after\n")
