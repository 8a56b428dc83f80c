"""deploy/compose.yaml: it parses, and every image, setting and file that it names is real. Docker is not needed."""

import re
from typing import Any

import pytest
import yaml

from chart.rendering import VALUES, render
from chart.test_rendered import SETTINGS
from services import ROOT

COMPOSE = ROOT / "deploy" / "compose.yaml"
SYSTEM: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
OWN = {name: one for name, one in SYSTEM["services"].items() if one["image"].startswith("mediagen/")}


def interpolated(value: str) -> str:
    """With the defaults that Compose would put in where nothing is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def service_of(name: str) -> str:
    return str(OWN[name]["image"]).removeprefix("mediagen/").partition(":")[0]


@pytest.mark.parametrize("name", OWN)
def test_every_variable_is_a_setting_and_the_service_takes_all_of_them(name, monkeypatch):
    settings = SETTINGS[service_of(name)]
    prefix = str(settings.model_config["env_prefix"])
    known = {f"{prefix}{field}".upper() for field in settings.model_fields}
    assert set(OWN[name]["environment"]) <= known
    if name == "migrate":
        from jobs.settings import DatabaseSettings as settings
    for variable, value in OWN[name]["environment"].items():
        monkeypatch.setenv(variable, interpolated(value))
    read = settings()
    if name == "generator":
        assert read.model_dump()["replicate_token"] is None
        monkeypatch.setenv("GENERATOR_REPLICATE_TOKEN", "r8_token")
        assert settings().model_dump()["replicate_token"] is not None


def test_clients_and_servers_are_told_the_same_secrets_and_call_services_that_there_are():
    def given(name: str, variable: str) -> str:
        return str(SYSTEM["services"][name]["environment"][variable])

    assert given("jobs", "JOBS_WORKER_TOKEN") == given("generator", "GENERATOR_WORKER_TOKEN")
    assert given("jobs", "JOBS_DATABASE_PASSWORD") == given("postgresql", "POSTGRES_PASSWORD")
    assert given("jobs", "JOBS_AMQP_PASSWORD") == given("generator", "GENERATOR_AMQP_PASSWORD")
    assert given("jobs", "JOBS_AMQP_PASSWORD") in SYSTEM["configs"]["rabbitmq-user"]["content"]
    assert (
        given("gateway", "GATEWAY_S3_SECRET_KEY")
        == given("generator", "GENERATOR_S3_SECRET_KEY")
        == given("s3", "MINIO_ROOT_PASSWORD")
    )
    for one in OWN.values():
        for variable, value in one["environment"].items():
            for host in re.findall(r"(?:://(?:\w+@)?|^)([a-z][a-z0-9]*):\d+", interpolated(value)):
                assert host in SYSTEM["services"], f"{variable}={value}"


def test_whoever_is_waited_for_is_there_and_can_be_waited_for():
    for name, one in SYSTEM["services"].items():
        for other, how in one.get("depends_on", {}).items():
            awaited = SYSTEM["services"][other]
            if how["condition"] == "service_healthy":
                assert "healthcheck" in awaited or other in OWN, f"{name} waits for {other}"
            if how["condition"] == "service_completed_successfully":
                assert awaited["command"] == ["migrate"]


def test_its_images_are_the_ones_of_the_chart():
    chart = {one["image"].removeprefix("docker.io/").removeprefix("library/") for _, one in render(VALUES["default"]).containers()}
    assert {interpolated(one["image"]) for one in SYSTEM["services"].values()} == chart


def test_every_file_that_it_names_is_there():
    for one in OWN.values():
        if "build" in one:
            context = COMPOSE.parent / one["build"]["context"]
            assert (context / one["build"]["dockerfile"]).exists()
            assert (context / "services" / one["build"]["args"]["SERVICE"]).is_dir()
    for one in SYSTEM["configs"].values():
        assert "content" in one or (COMPOSE.parent / one["file"]).exists()
    used = {config["source"] for one in SYSTEM["services"].values() for config in one.get("configs", [])}
    assert used == set(SYSTEM["configs"])
    volumes = {volume.partition(":")[0] for one in SYSTEM["services"].values() for volume in one.get("volumes", [])}
    assert volumes == set(SYSTEM["volumes"])


def test_only_the_api_leaves_the_containers_and_only_to_this_machine():
    ports = {name: one["ports"] for name, one in SYSTEM["services"].items() if "ports" in one}
    assert ports == {"gateway": ["127.0.0.1:${GATEWAY_PORT:-8080}:8080"]}
    for one in OWN.values():
        assert (one["read_only"], one["cap_drop"], one["tmpfs"]) == (True, ["ALL"], ["/tmp"])
