"""The health command of an image."""

import asyncio
import subprocess
import sys

import pytest

from chassis.healthcheck import health_address
from chassis.settings import HostPort
from chassis.telemetry import serving_metrics
from ports import any_free_port
from services import ROOT


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({"SERVICE": "jobs", "JOBS_LISTEN": "0.0.0.0:1", "JOBS_METRICS_LISTEN": "0.0.0.0:9100"}, ("127.0.0.1", 9100)),
        ({"SERVICE": "jobs", "GATEWAY_METRICS_LISTEN": "[::]:1", "JOBS_METRICS_LISTEN": "[::]:9100"}, ("::1", 9100)),
        ({"SERVICE": "simulator", "SIMULATOR_LISTEN": "10.0.0.7:8090"}, ("10.0.0.7", 8090)),
    ],
)
def test_it_asks_where_the_service_listens(environment, address):
    assert health_address(environment) == HostPort(*address)


@pytest.mark.parametrize("environment", [{}, {"SERVICE": "jobs"}, {"SERVICE": "jobs", "JOBS_METRICS_LISTEN": "nonsense"}])
def test_it_says_what_is_not_set(environment):
    with pytest.raises(ValueError, match=r"LISTEN|host:port"):
        health_address(environment)


async def test_its_exit_code_is_what_readyz_says_and_its_line_why():
    port = any_free_port()
    environment = {"PYTHONPATH": f"{ROOT}/services", "SERVICE": "jobs", "JOBS_METRICS_LISTEN": f"0.0.0.0:{port}"}

    async def ask() -> tuple[int, str]:
        command = (sys.executable, "-m", "chassis.healthcheck")
        asked = await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.PIPE)
        said, _ = await asked.communicate()
        assert asked.returncode is not None
        return asked.returncode, said.decode().strip()

    complaints = ["stopping", None]
    async with serving_metrics("tests", HostPort("127.0.0.1", port), live=lambda: None, ready=lambda: complaints.pop(0)):
        assert await ask() == (1, "stopping")
        assert await ask() == (0, "ok")
    assert (await ask())[0] == 1
