"""What holds for every resource, whatever is switched on: the three sets of values, by Helm 3 and by Helm 4."""

import re

import pytest
from pydantic_settings import BaseSettings

from chart.rendering import CHART, MAJORS, NAMESPACE, VALUES, Rendered, container, environment, render
from gateway.settings import Settings as GatewaySettings
from generator.settings import Settings as GeneratorSettings
from jobs.settings import Settings as JobsSettings
from services import ROOT
from simulator.settings import Settings as SimulatorSettings

SETTINGS: dict[str, type[BaseSettings]] = {
    "gateway": GatewaySettings,
    "jobs": JobsSettings,
    "generator": GeneratorSettings,
    "simulator": SimulatorSettings,
}
OTHERS = {
    "SSL_CERT_FILE": "OpenSSL's",
    "PGSSLMODE": "libpq's and asyncpg's",
    "PGSSLROOTCERT": "libpq's and asyncpg's",
    "FORWARDED_ALLOW_IPS": "uvicorn's",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "OpenTelemetry's",
    "OTEL_EXPORTER_OTLP_CERTIFICATE": "OpenTelemetry's",
    "OTEL_TRACES_SAMPLER": "OpenTelemetry's",
    "OTEL_TRACES_SAMPLER_ARG": "OpenTelemetry's",
    "TZ": "of the values themselves",
}
"""Variables that are nobody's settings here."""


@pytest.fixture(params=[(name, major) for name in VALUES for major in MAJORS], ids=lambda case: f"{case[0]}-helm{case[1]}")
def rendered(request: pytest.FixtureRequest) -> Rendered:
    name, major = request.param
    return render(VALUES[name], major=major)


def known_variables() -> set[str]:
    names = set(OTHERS)
    for settings in SETTINGS.values():
        prefix = str(settings.model_config["env_prefix"])
        names |= {f"{prefix}{name}".upper() for name in settings.model_fields}
    return names


def test_both_helms_render_the_same():
    for name, values in VALUES.items():
        first, *others = [render(values, major=major).manifests for major in MAJORS]
        for manifests in [first, *others]:
            for one in manifests:
                if one["kind"] == "Secret":
                    one["data"] = sorted(one["data"])  # generated anew in each rendering
        assert all(other == first for other in others), name


def test_every_resource_has_its_labels_and_its_namespace_and_a_name_of_its_own(rendered):
    names = [(one["kind"], one["metadata"]["name"]) for one in rendered.manifests]
    assert len(names) == len(set(names))
    for one in rendered.manifests:
        if one["metadata"]["name"].endswith(("-extra", "-as-text")):
            continue
        assert one["metadata"]["namespace"] == NAMESPACE
        assert one["metadata"]["labels"]["app.kubernetes.io/instance"] == "demo"
        assert one["metadata"]["labels"]["app.kubernetes.io/part-of"] == "mediagen"


def test_every_pod_is_what_pod_security_calls_restricted_and_has_no_token(rendered):
    for name, pod in rendered.pods():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
    for name, one in rendered.containers():
        context = one["securityContext"]
        assert context["allowPrivilegeEscalation"] is False, name
        assert context["capabilities"] == {"drop": ["ALL"]}, name
        if not name.endswith((" first", " beside")):  # the containers that the values themselves bring
            assert context["readOnlyRootFilesystem"] is True, name
            assert "memory" in one["resources"]["limits"] and "cpu" in one["resources"]["requests"], name


def test_no_user_id_is_fixed_but_those_that_the_images_of_the_stores_bring(rendered):
    for name, pod in rendered.pods():
        if "StatefulSet" not in name:
            assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(pod["spec"]["securityContext"]), name


def test_every_variable_is_a_setting_of_the_service_that_gets_it(rendered):
    known = known_variables()
    for name, pod in rendered.pods():
        if "StatefulSet" in name:
            continue
        for one in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]:
            variables = environment(one) if "env" in one else {}
            service = one["image"].partition("/mediagen/")[2].partition(":")[0] if "/mediagen/" in one["image"] else ""
            for variable in variables:
                used = any(f"$({variable})" in str(value) for value in variables.values())
                if service and not (used or variable in OTHERS or one["name"] == "test"):
                    assert variable in known and variable.startswith(f"{service.upper()}_"), f"{name}: {variable}"


def test_every_service_starts_with_what_it_is_given(rendered, monkeypatch, tmp_path):
    for service, settings in SETTINGS.items():
        if f"Deployment/{service}" not in rendered:
            continue
        with monkeypatch.context() as patch:
            given = environment(container(rendered[f"Deployment/{service}"]))
            for variable, value in given.items():
                if value.startswith("/etc/mediagen/"):
                    value = str(tmp_path)
                    (tmp_path / "file").touch()
                    value = str(tmp_path / "file")
                elif re.fullmatch(r"[\w-]+:[\w-]+", value) and "LISTEN" not in variable and "ADDRESS" not in variable:
                    value = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"  # of a Secret
                patch.setenv(variable, value.replace("$(POSTGRESQL_USERNAME)", "me").replace("$(RABBITMQ_USERNAME)", "me"))
            read = settings()
            assert read.model_dump()["log_level"] == given[f"{service.upper()}_LOG_LEVEL"]


def test_no_secret_is_written_into_a_pod(rendered):
    for name, one in rendered.containers():
        for variable in one.get("env", []):
            secret = re.search(r"PASSWORD|TOKEN$|SECRET|ACCESS_KEY|ROOT_USER", variable["name"])
            assert not secret or "valueFrom" in variable, f"{name}: {variable['name']}"
            assert not re.search(r"://[^/@]+:[^/@]+@", variable.get("value", "")), f"{name}: {variable['name']} holds a password"


def test_every_image_has_a_tag_and_both_a_registry_and_a_repository(rendered):
    for name, one in rendered.containers():
        assert re.fullmatch(r"[a-z.]+(\.[a-z]+)+/[\w./-]+:[\w.-]+(@sha256:[0-9a-f]{64})?", one["image"]), name


def test_everything_that_a_pod_names_is_there(rendered):
    """Volumes of mounts, ports of probes, Secrets and ConfigMaps of the release itself, service accounts."""
    own = {(one["kind"], one["metadata"]["name"]) for one in rendered.manifests}
    for name, pod in rendered.pods():
        spec = pod["spec"]
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        volumes |= {"data"} if "StatefulSet" in name else set()
        for one in [*spec["containers"], *spec.get("initContainers", [])]:
            assert {mount["name"] for mount in one.get("volumeMounts", [])} <= volumes, name
            ports = {port["name"] for port in one.get("ports", [])}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                ask = one.get(probe, {}).get("httpGet") or one.get(probe, {}).get("tcpSocket")
                assert ask is None or ask["port"] in ports, f"{name} {probe}"
            for variable in one.get("env", []):
                reference = variable.get("valueFrom", {}).get("secretKeyRef", {"name": ""})
                if reference["name"].startswith("demo-mediagen"):
                    (secret,) = [found for found in rendered.of_kind("Secret") if found["metadata"]["name"] == reference["name"]]
                    assert reference["key"] in secret["data"], f"{name}: {variable['name']}"
        for volume in spec.get("volumes", []):
            mapped = volume.get("configMap", {}).get("name", "")
            assert not mapped.startswith("demo-mediagen") or ("ConfigMap", mapped) in own, name
        account = spec.get("serviceAccountName", "default")
        assert account == "default" or ("ServiceAccount", account) in own, name


def selects(selector: dict[str, object], labels: dict[str, str]) -> bool:
    expressions = selector.get("matchExpressions", [])
    wanted = selector.get("matchLabels", {} if expressions else selector)
    assert isinstance(wanted, dict) and isinstance(expressions, list)
    return wanted.items() <= labels.items() and all(labels.get(one["key"]) in one["values"] for one in expressions)


def test_services_budgets_policies_and_monitors_select_pods_that_exist(rendered):
    pods = {name: pod for name, pod in rendered.pods() if not name.startswith("Pod/")}
    every = dict(rendered.pods())
    for one in rendered.of_kind("Service"):
        (pod,) = [pod for pod in pods.values() if selects(one["spec"]["selector"], pod["metadata"]["labels"])]
        ports = {port["name"] for c in pod["spec"]["containers"] for port in c.get("ports", [])}
        assert {port["targetPort"] for port in one["spec"]["ports"]} <= ports, one["metadata"]["name"]
    for kind, where in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector"), ("PodMonitor", "selector")):
        for one in rendered.of_kind(kind):
            found = [name for name, pod in every.items() if selects(one["spec"][where], pod["metadata"]["labels"])]
            assert len(found) == 1, f"{kind} {one['metadata']['name']} selects {found}"
    for one in rendered.of_kind("NetworkPolicy"):
        for rule in [*one["spec"]["ingress"], *one["spec"]["egress"]]:
            for peer in [*rule.get("from", []), *rule.get("to", [])]:
                if "podSelector" in peer and "namespaceSelector" not in peer:
                    assert any(selects(peer["podSelector"], pod["metadata"]["labels"]) for pod in every.values()), peer
    for one in rendered.of_kind("ServiceMonitor"):
        (service,) = [
            found for found in rendered.of_kind("Service") if selects(one["spec"]["selector"], found["metadata"]["labels"])
        ]
        assert one["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}


def test_the_port_of_workers_and_the_metrics_are_routed_by_nothing(rendered):
    public = {"demo-mediagen-gateway", "demo-mediagen-jobs"}
    for one in [*rendered.of_kind("Ingress"), *rendered.of_kind("HTTPRoute"), *rendered.of_kind("GRPCRoute")]:
        backends = set(re.findall(r"demo-mediagen[\w-]*", str(one["spec"])))
        assert backends and backends <= public
    for one in rendered.of_kind("Service"):
        if one["metadata"]["name"] in public:
            assert {port["targetPort"] for port in one["spec"]["ports"]} <= {"http", "grpc"}
        else:
            assert one["spec"].get("type", "ClusterIP") == "ClusterIP"


def test_what_ends_slowly_has_the_time_for_it():
    """docs/upgrades.md: gateway and jobs are gone 20 s after SIGTERM, a generator 40 s; before that comes the pause."""
    rendered = render(VALUES["external"])
    for service, pause, seconds in (("gateway", 10, 20), ("jobs", 10, 20), ("generator", 0, 40)):
        deployment = rendered[f"Deployment/{service}"]
        assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= pause + seconds + 5
        sleep = container(deployment).get("lifecycle", {}).get("preStop", {}).get("sleep", {"seconds": 0})
        assert sleep == {"seconds": pause}


@pytest.mark.parametrize("name", [name for name in VALUES if name != "everything"])
def test_one_value_moves_every_image_to_another_registry(name):
    images = {one["image"] for _, one in render(VALUES[name], {"global": {"imageRegistry": "mirror.example.com"}}).containers()}
    assert images and all(image.startswith("mirror.example.com/") for image in images), images


def test_the_versions_of_the_project_the_chart_and_the_images_are_one():
    project = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    chart = re.search(r'^appVersion: "(.+)"$', (CHART / "Chart.yaml").read_text(), re.MULTILINE)
    assert project and chart and project[1] == chart[1]
    assert container(render(VALUES["default"])["Deployment/jobs"])["image"] == f"docker.io/mediagen/jobs:{chart[1]}"


def test_names_stay_short_enough_however_long_the_release_is_called():
    rendered = render(VALUES["default"], name="a" * 53)
    for one in rendered.manifests:
        most = 52 if one["kind"] == "StatefulSet" else 63  # its pods have a label of its name, a dash and a hash of 10
        assert len(one["metadata"]["name"]) <= most, one["metadata"]["name"]


def test_the_definitions_of_rabbitmq_are_those_of_everywhere():
    everywhere = ROOT / "deploy" / "rabbitmq" / "definitions.json"
    assert (CHART / "files" / "rabbitmq" / "definitions.json").read_text() == everywhere.read_text()
