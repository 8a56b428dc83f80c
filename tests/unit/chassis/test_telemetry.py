"""What reaches the log, and what must not."""

import json
import subprocess
import sys

import aiohttp

from chassis.settings import HostPort
from chassis.telemetry import serving_metrics
from ports import any_free_port
from services import ROOT

SCRIPT = """
import logging, structlog
from chassis.telemetry import configure_logging
configure_logging("tester", "info")
structlog.contextvars.bind_contextvars(request_id="r-1")
def call(token):
    raise RuntimeError("broken")
try:
    call("a-secret-token")
except RuntimeError:
    structlog.get_logger().exception("it.failed")
logging.getLogger("a.library").warning("said %s", "something")
"""


def test_every_line_is_json_with_the_requests_id_and_no_local_variable_of_a_traceback():
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={"PYTHONPATH": f"{ROOT}/services"}, capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["it.failed", "said something"]
    assert {line["request_id"] for line in lines} == {"r-1"}
    assert {line["service"] for line in lines} == {"tester"}
    assert "broken" in json.dumps(lines[0]["exception"])
    assert "a-secret-token" not in ended.stderr


QUOTES_ROWS = """
import asyncpg, structlog
from sqlalchemy.exc import IntegrityError
from chassis.telemetry import configure_logging
configure_logging("tester", "info")
log = structlog.get_logger()

def refused():
    error = asyncpg.NotNullViolationError("null value in column \\"model\\"")
    error.detail, error.hint = "Failing row contains (1, a secret\\nprompt, HINT: null)", "try a secret"
    return error

def said(error, cause=None):
    try:
        raise error from cause
    except Exception:
        log.exception("it.failed")

def raised(error):
    try:
        raise error
    except Exception as raised:
        return raised

said(refused())
said(IntegrityError("INSERT", {}, refused(), hide_parameters=True))
said(RuntimeError("broken"), raised(refused()))
said(ExceptionGroup("both", [raised(refused()), raised(RuntimeError("broken"))]))
said(asyncpg.DataError("invalid input for query argument $2: ['a secret prompt'] (a sized iterable container expected)"))
"""


def test_an_error_of_the_database_is_told_without_the_row_that_it_quotes():
    ended = subprocess.run(
        [sys.executable, "-c", QUOTES_ROWS], env={"PYTHONPATH": f"{ROOT}/services"}, capture_output=True, text=True, check=True
    )
    lines = [json.loads(line)["exception"] for line in ended.stderr.splitlines()]
    refused, wrapped, caused, group, argument = lines
    assert "secret" not in ended.stderr and "prompt" not in ended.stderr
    assert (refused[0]["sqlstate"], refused[0]["exc_value"]) == ("23502", 'null value in column "model"')
    assert wrapped[0]["sqlstate"] == "23502" and 'null value in column "model"' in wrapped[0]["exc_value"]
    assert [stack["exc_type"] for stack in caused] == ["RuntimeError", "NotNullViolationError"]
    assert group[0]["exceptions"][0][0]["exc_value"] == 'null value in column "model"'
    assert argument[0]["exc_value"] == "invalid input for query argument $2"


async def test_on_all_ipv6_addresses_the_health_is_heard_by_ipv4_too():
    port = any_free_port()
    async with (
        serving_metrics("tests", HostPort("::", port), live=lambda: None, ready=lambda: "not yet"),
        aiohttp.ClientSession() as session,
    ):
        for host in ("127.0.0.1", "[::1]"):
            async with session.get(f"http://{host}:{port}/livez") as live, session.get(f"http://{host}:{port}/readyz") as ready:
                assert (live.status, ready.status, await ready.text()) == (200, 503, "not yet")
