"""The values themselves: what the schema refuses, and that schema, comments, README and the services' settings agree."""

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml

from chart.rendering import CHART, MAJORS, VALUES, Refused, render
from chart.test_rendered import SETTINGS

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())

SET_BY_THE_CHART = {
    "gateway": {"listen", "metrics_listen", "jobs_address", "jobs_ca_file", "jobs_cert_file", "jobs_key_file", "s3_endpoint"}
    | {"s3_access_key", "s3_secret_key", "s3_bucket", "s3_region", "replicate_webhook_secret"},
    "jobs": {"listen", "worker_listen", "metrics_listen", "database_url", "database_password", "amqp_url", "amqp_password"}
    | {"worker_token", "tls_cert_file", "tls_key_file", "tls_client_ca_file"},
    "generator": {"jobs_address", "jobs_ca_file", "jobs_cert_file", "jobs_key_file", "worker_token", "amqp_url", "amqp_password"}
    | {"metrics_listen", "replicate_url", "replicate_token", "webhook_url", "s3_endpoint", "s3_access_key", "s3_secret_key"}
    | {"s3_bucket", "s3_region"},
    "simulator": {"listen", "files_listen"},
}
NOT_FOR_A_CLUSTER = {
    "jobs": {"time_scale"},  # of tests
    "simulator": {"webhook_secret", "webhook_http", "webhook_retry_seconds"},  # predictions are polled
}


def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


@pytest.mark.parametrize("service", SETTINGS)
def test_config_knows_every_setting_of_the_service_that_the_chart_does_not_set_itself(service):
    config = {snake(key) for key in SCHEMA["properties"][service]["properties"]["config"]["properties"]}
    fields = {name for name in SETTINGS[service].model_fields if not name.startswith("otel_")}
    assert config == fields - SET_BY_THE_CHART[service] - NOT_FOR_A_CLUSTER.get(service, set())


@pytest.mark.parametrize("service", SETTINGS)
def test_the_comment_on_config_names_every_key_of_it(service):
    text = (CHART / "values.yaml").read_text().partition(f"\n{service}:\n")[2]
    comment = next(line for line in text.splitlines() if "# -- Settings of the" in line)
    for key in SCHEMA["properties"][service]["properties"]["config"]["properties"]:
        assert key in comment, f"{service}.config.{key}"


def paths(values: Any, at: str = "") -> set[str]:
    """The dotted paths of all maps' keys."""
    found: set[str] = set()
    if isinstance(values, dict):
        for key, value in values.items():
            found |= {f"{at}{key}"} | paths(value, f"{at}{key}.")
    return found


def schema_of(path: str) -> dict[str, Any]:
    """The schema of a value, through references and what components share."""
    schema: Any = SCHEMA
    for key in path.split("."):
        shared = SCHEMA["$defs"]["component"]["properties"] if "allOf" in schema else {}
        found = schema["properties"][key]
        schema = shared[key] if found is True else found
        if "$ref" in schema:
            schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    return dict(schema)


def closed_maps() -> list[str]:
    """Every map of the defaults whose keys the schema lists."""
    maps = []
    for path in sorted(paths(DEFAULTS)):
        value: Any = DEFAULTS
        for key in path.split("."):
            value = value[key]
        try:
            schema = schema_of(path)
        except KeyError:  # inside of a map that is passed on as it is
            continue
        if isinstance(value, dict) and schema.get("additionalProperties") is False:
            maps.append(path)
    return maps


CLOSED = closed_maps()


def test_the_schema_lists_the_keys_of_every_map_that_is_not_passed_on():
    assert len(CLOSED) > 55
    assert SCHEMA["additionalProperties"] is False and set(SCHEMA["properties"]) == set(DEFAULTS)
    for path in CLOSED:
        listed = set(schema_of(path)["properties"])
        if path.endswith(".config") or path.partition(".")[2].startswith(("probes.", "resources")):
            continue  # Kubernetes' own keys, and settings whose default is the service's
        value: Any = DEFAULTS
        for key in path.split("."):
            value = value[key]
        missing = {"rollingUpdate"} if path == "simulator.strategy" else {"claims"}
        assert listed - missing == set(value), path


@pytest.mark.parametrize("path", CLOSED)
def test_a_misspelt_key_is_refused_and_named_wherever_it_is(path):
    values: dict[str, Any] = {"replicsa": 1}
    for key in reversed(path.split(".")):
        values = {key: values}
    with pytest.raises(Refused, match=r"replicsa"):
        render(VALUES["default"], values)


@pytest.mark.parametrize("major", MAJORS)
def test_both_helms_refuse_a_misspelt_key_at_the_top(major):
    with pytest.raises(Refused, match=r"gatway"):
        render(VALUES["default"], {"gatway": {}}, major=major)


@pytest.mark.parametrize(
    "values",
    [
        {"gateway": {"replicas": "two"}},
        {"gateway": {"service": {"type": "Nodeport"}}},
        {"gateway": {"service": {"port": 70000}}},
        {"gateway": {"image": {"digest": "sha256:abc"}}},
        {"gateway": {"config": {"maxBodyBytes": "1Mi"}}},
        {"jobs": {"config": {"auth": "maybe"}}},
        {"generator": {"config": {"slots": 0}}},
        {"generator": {"extraEnv": [{"value": "nameless"}]}},
        {"global": {"logLevel": "loud"}},
        {"migrations": {"mode": "sometimes"}},
        {"postgresql": {"external": {"sslMode": "verify"}}},
        {"objectStorage": {"external": {"endpoint": "s3.example.com"}}},
        {"objectStorage": {"external": {"endpoint": "https://s3.example.com/bucket"}}},
        {"objectStorage": {"bucket": "My_Media"}},
        {"objectStorage": {"external": {"secretKeys": {"accessKey": ""}}}},
        {"workerToken": {"secretKey": ""}},
        {"simulator": {"autoscaling": {"enabled": True}}},
        {"simulator": {"pdb": {"enabled": True}}},
        {"tracing": {"sampler": "jaeger_remote"}},
        {"tracing": {"samplerArg": "often"}},
        {"gateway": {"strategy": {"type": "OnDelete"}}},
        {"gateway": {"pdb": {"maxUnavailable": "some"}}},
        {"gateway": {"podAnnotations": {"example.com/number": 1}}},
        {"gateway": {"nodeSelector": {"fast": True}}},
        {"global": {"labels": {"number": 1}}},
        {"jobs": {"service": {"port": 443}}},
        {"ingress": {"path": "/media"}},
        {"gateway": {"config": None}},
        {"generator": {"keda": None}},
        {"tls": None},
        {"customCA": None},
        {"tests": None},
    ],
    ids=str,
)
def test_a_wrong_value_is_refused(values):
    with pytest.raises(Refused, match="values don't meet the specifications of the schema"):
        render(VALUES["default"], values)


ALIKE = [(name, "gateway") for name in ("jobs", "generator", "simulator")]
ALIKE += [("postgresql.embedded.image", "gateway.image"), ("rabbitmq.embedded", "postgresql.embedded")]
ALIKE += [("objectStorage.embedded", "postgresql.embedded"), ("metrics.podMonitor", "metrics.serviceMonitor")]
ALIKE += [("postgresql.embedded.image", "gateway.image"), ("postgresql.embedded.resources", "gateway.resources")]
"""What is described once for all that have it."""


def test_every_value_is_described_where_it_is_or_where_it_comes_first():
    sys.path.insert(0, str(CHART))
    try:
        from readme import described
    finally:
        sys.path.remove(str(CHART))
    descriptions = dict(described((CHART / "values.yaml").read_text()))
    for path in sorted(paths(DEFAULTS)):
        value: Any = DEFAULTS
        for key in path.split("."):
            value = value[key]
        if isinstance(value, dict) and value:
            continue
        alike = path
        for one, other in ALIKE:
            alike = alike.replace(one, other, 1) if alike.startswith(one) else alike
        lines = [name.split(".") for name in (path, alike)]
        above = {".".join(line[:length]) for line in lines for length in range(2, len(line) + 1)} | {path}
        assert any(descriptions.get(name) for name in above), f"{path} has no comment"


def test_the_readme_is_current():
    done = subprocess.run([sys.executable, CHART / "readme.py", "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
