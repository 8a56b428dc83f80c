"""Each switch of the values, on and off: what it renders, and what it leaves alone."""

import json
import re
import shutil

import pytest

from chart.rendering import CHART, MAJORS, VALUES, Refused, Rendered, container, environment, render

DEFAULT, EXTERNAL, EVERYTHING = VALUES["default"], VALUES["external"], VALUES["everything"]


def variables(rendered: Rendered, service: str) -> dict[str, str]:
    return environment(container(rendered[f"Deployment/{service}"]))


# Replicas and autoscalers


@pytest.mark.parametrize("major", MAJORS)
def test_the_generators_replicas_are_nobodys_unless_they_are_set(major):
    assert "replicas" not in render(DEFAULT, major=major)["Deployment/generator"]["spec"]
    assert render(DEFAULT, {"generator": {"replicas": 3}}, major=major)["Deployment/generator"]["spec"]["replicas"] == 3
    assert render(DEFAULT, {"generator": {"replicas": 0}}, major=major)["Deployment/generator"]["spec"]["replicas"] == 0


def test_gateway_and_jobs_have_two_pods_and_any_of_them_may_be_left_to_others():
    rendered = render(DEFAULT)
    assert [rendered[f"Deployment/{name}"]["spec"]["replicas"] for name in ("gateway", "jobs", "simulator")] == [2, 2, 1]
    assert "replicas" not in render(DEFAULT, {"jobs": {"replicas": None}})["Deployment/jobs"]["spec"]


@pytest.mark.parametrize("name", ["gateway", "jobs", "generator"])
def test_an_autoscaler_takes_the_replicas_over(name):
    rendered = render(DEFAULT, {name: {"autoscaling": {"enabled": True}}})
    assert "replicas" not in rendered[f"Deployment/{name}"]["spec"]
    assert [one["spec"]["scaleTargetRef"]["name"] for one in rendered.of_kind("HorizontalPodAutoscaler")] == [
        f"demo-mediagen-{name}"
    ]


def test_keda_asks_jobs_itself_and_takes_the_replicas_over():
    rendered = render(DEFAULT, {"generator": {"keda": {"enabled": True, "jobsPerReplica": 50}}})
    assert "replicas" not in rendered["Deployment/generator"]["spec"]
    scaled = rendered["ScaledObject/generator"]["spec"]
    assert (scaled["scaleTargetRef"], scaled["minReplicaCount"]) == ({"name": "demo-mediagen-generator"}, 0)
    (trigger,) = scaled["triggers"]
    assert trigger["metadata"]["url"] == "http://demo-mediagen-jobs-metrics.media.svc:9100/metrics"
    assert trigger["metadata"]["targetValue"] == "50"
    assert "Service/jobs-metrics" in rendered
    assert render(DEFAULT).of_kind("ScaledObject") == []


# Migrations


def test_the_job_is_another_one_for_another_image_and_the_same_one_otherwise():
    name = render(DEFAULT).one("Job", "migrate")["metadata"]["name"]
    assert re.fullmatch(r"demo-mediagen-migrate-[0-9a-f]{8}", name)
    assert render(DEFAULT, {"gateway": {"replicas": 5}}).one("Job", "migrate")["metadata"]["name"] == name
    assert render(DEFAULT, {"jobs": {"image": {"tag": "next"}}}).one("Job", "migrate")["metadata"]["name"] != name
    assert render(DEFAULT, {"migrations": {"backoffLimit": 1}}).one("Job", "migrate")["metadata"]["name"] != name
    assert render(DEFAULT, flags=["--set", "nameOverride=mediagen"]).one("Job", "migrate")["metadata"]["name"] == name


@pytest.mark.parametrize(
    ("mode", "init", "args"),
    [
        ("job", "wait-for-schema", ["wait-for-schema", "--seconds", "600"]),
        ("hook", "wait-for-schema", ["wait-for-schema", "--seconds", "600"]),
        ("none", "wait-for-schema", ["wait-for-schema", "--seconds", "600"]),
        ("initContainer", "migrate", ["migrate"]),
    ],
)
def test_pods_of_jobs_wait_for_the_schema_or_make_it(mode, init, args):
    rendered = render(EXTERNAL, {"migrations": {"mode": mode}})
    first = container(rendered["Deployment/jobs"], init)
    assert first["args"] == args
    assert first["image"] == container(rendered["Deployment/jobs"])["image"]
    assert environment(first).keys() <= variables(rendered, "jobs").keys()
    assert len(rendered.of_kind("Job")) == (mode in ("job", "hook"))


def test_as_a_hook_the_job_runs_before_install_and_upgrade_and_needs_nothing_of_the_release():
    job = render(EXTERNAL, {"migrations": {"mode": "hook"}}).one("Job", "migrate")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert "serviceAccountName" not in job["spec"]["template"]["spec"]
    assert "demo-mediagen-generated" not in json.dumps(job)
    assert "annotations" not in render(EXTERNAL).one("Job", "migrate")["metadata"]


def test_the_job_beside_the_release_has_no_end_at_which_it_would_never_be_tried_again():
    job = render(EXTERNAL).one("Job", "migrate")["spec"]
    assert "activeDeadlineSeconds" not in job and job["backoffLimit"] == 100
    assert job["template"]["spec"]["restartPolicy"] == "OnFailure"


def test_a_hook_ends_leaves_its_logs_and_has_one_name_so_that_the_next_one_replaces_it():
    job = render(EXTERNAL, {"migrations": {"mode": "hook", "timeoutSeconds": 90}})["Job/migrate"]["spec"]
    assert (job["activeDeadlineSeconds"], job["template"]["spec"]["restartPolicy"]) == (90, "Never")
    assert "Job/migrate" in render(EXTERNAL, {"migrations": {"mode": "hook"}, "jobs": {"image": {"tag": "next"}}})


PLACED = {
    "nodeSelector": {"pool": "media"},
    "tolerations": [{"key": "media", "operator": "Exists"}],
    "priorityClassName": "high",
    "affinity": {
        "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []},
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []},
    },
    "podAnnotations": {"example.com/pod": "yes"},
    "podLabels": {"example.com/tier": "back"},
    "serviceAccount": {"name": "mine"},
    "extraInitContainers": [{"name": "proxy", "image": "proxy", "restartPolicy": "Always"}],
}


def test_the_migration_and_the_test_run_where_jobs_does_and_are_not_taken_for_it():
    rendered = render(DEFAULT, {"jobs": PLACED})
    for pod in (rendered.one("Job", "migrate")["spec"]["template"], rendered["Pod/test"]):
        spec = pod["spec"]
        assert {key: spec[key] for key in ("nodeSelector", "tolerations", "priorityClassName")} == {
            key: PLACED[key] for key in ("nodeSelector", "tolerations", "priorityClassName")
        }
        assert list(spec["affinity"]) == ["nodeAffinity"]  # jobs waits for the migration, on nodes that it must not be kept from
        assert spec["serviceAccountName"] == "mine"
        assert [one["name"] for one in spec["initContainers"]] == ["proxy"]
        assert pod["metadata"]["annotations"]["example.com/pod"] == "yes"
        assert pod["metadata"]["labels"]["example.com/tier"] == "back"
        assert pod["metadata"]["labels"]["app.kubernetes.io/component"] != "jobs"
    with pytest.raises(Refused):
        render(DEFAULT, {"jobs": {"podLabels": {"app.kubernetes.io/component": "jobs"}}})


def test_a_hook_has_only_an_account_that_was_there_before():
    def account(values: dict[str, object]) -> object:
        job = render(EXTERNAL, {"migrations": {"mode": "hook"}, "jobs": {"serviceAccount": values}})["Job/migrate"]
        return job["spec"]["template"]["spec"].get("serviceAccountName")

    assert (account({"name": "made"}), account({"create": False, "name": "mine"})) == (None, "mine")


def test_init_containers_of_the_values_come_before_the_charts_own():
    spec = render(DEFAULT, {"jobs": PLACED})["Deployment/jobs"]["spec"]["template"]["spec"]
    assert [one["name"] for one in spec["initContainers"]] == ["proxy", "wait-for-schema"]


# Stores


@pytest.mark.parametrize(
    ("mode", "custom", "file"),
    [
        ("prefer", "", None),
        ("require", "", None),
        ("require", "company", "/etc/mediagen/ca/ca.crt"),
        ("verify-ca", "", "/etc/ssl/certs/ca-certificates.crt"),
        ("verify-full", "", "/etc/ssl/certs/ca-certificates.crt"),
    ],
)
def test_the_systems_authorities_are_named_only_where_the_certificate_is_to_be_checked(mode, custom, file):
    values = {"postgresql": {"external": {"sslMode": mode, "caSecret": ""}}, "customCA": {"secret": custom}}
    assert variables(render(EXTERNAL, values), "jobs").get("PGSSLROOTCERT") == file


@pytest.mark.parametrize(("tls", "port", "url"), [(True, None, "amqps:5671"), (False, None, "amqp:5672"), (True, 7, "amqps:7")])
def test_the_port_of_rabbitmq_goes_with_tls(tls, port, url):
    rendered = render(EXTERNAL, {"rabbitmq": {"external": {"tls": tls, "port": port}}, "networkPolicy": {"enabled": True}})
    scheme, _, number = url.partition(":")
    assert variables(rendered, "jobs")["JOBS_AMQP_URL"] == f"{scheme}://$(RABBITMQ_USERNAME)@mediagen.rabbitmq:{number}/mediagen"
    egress = rendered["NetworkPolicy/jobs"]["spec"]["egress"]
    assert int(number) in [rule["ports"][0]["port"] for rule in egress]


def test_embedded_stores_are_there_only_where_they_are_asked_for():
    names = {f"demo-mediagen-{name}" for name in ("postgresql", "rabbitmq", "object-storage")}
    assert {one["metadata"]["name"] for one in render(DEFAULT).of_kind("StatefulSet")} == names
    external = render(EXTERNAL)
    assert external.of_kind("StatefulSet") == external.of_kind("Secret") == external.of_kind("PersistentVolumeClaim") == []


def test_volumes_and_passwords_of_the_stores_go_with_the_release_unless_they_are_retained():
    assert {
        one["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] for one in render(DEFAULT).of_kind("StatefulSet")
    } == {"Delete"}
    assert "annotations" not in render(DEFAULT)["Secret/generated"]["metadata"]
    retained = render(DEFAULT, {"postgresql": {"embedded": {"storage": {"retain": True, "className": "fast", "size": "9Gi"}}}})
    assert retained["Secret/generated"]["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    spec = retained["StatefulSet/postgresql"]["spec"]
    assert spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"
    claim = spec["volumeClaimTemplates"][0]["spec"]
    assert (claim["storageClassName"], claim["resources"]["requests"]["storage"]) == ("fast", "9Gi")
    assert retained["StatefulSet/rabbitmq"]["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete"


def test_only_what_was_not_given_is_generated():
    assert set(render(DEFAULT)["Secret/generated"]["data"]) == {
        "worker-token",
        "postgresql-password",
        "rabbitmq-password",
        "object-storage-access-key",
        "object-storage-secret-key",
    }
    assert set(render(EVERYTHING)["Secret/generated"]["data"]) == {"worker-token"}
    assert render(EXTERNAL).of_kind("Secret") == []


def test_secrets_of_ones_own_are_used_for_embedded_stores_and_their_clients():
    rendered = render(EVERYTHING)
    assert environment(container(rendered["StatefulSet/postgresql"]))["POSTGRES_PASSWORD"] == "stores:postgresql"
    assert variables(rendered, "jobs")["JOBS_DATABASE_PASSWORD"] == "stores:postgresql"
    assert environment(container(rendered["StatefulSet/rabbitmq"], "definitions"))["RABBITMQ_PASSWORD"] == "stores:rabbitmq"
    assert variables(rendered, "jobs")["JOBS_AMQP_PASSWORD"] == "stores:rabbitmq"
    assert variables(rendered, "generator")["GENERATOR_AMQP_PASSWORD"] == "stores:rabbitmq"
    assert environment(container(rendered["StatefulSet/object-storage"]))["MINIO_ROOT_PASSWORD"] == "stores:secret-key"
    assert variables(rendered, "gateway")["GATEWAY_S3_SECRET_KEY"] == "stores:secret-key"


def test_external_stores_are_called_as_they_were_named():
    rendered = render(EXTERNAL)
    jobs, generator, gateway = (variables(rendered, name) for name in ("jobs", "generator", "gateway"))
    assert jobs["JOBS_DATABASE_URL"] == "postgresql://$(POSTGRESQL_USERNAME)@mediagen-rw.databases:5432/mediagen"
    assert jobs["POSTGRESQL_USERNAME"] == "mediagen-app:username"
    assert jobs["JOBS_DATABASE_PASSWORD"] == "mediagen-app:password"
    assert (jobs["PGSSLMODE"], jobs["PGSSLROOTCERT"]) == ("verify-full", "/etc/mediagen/postgresql-ca/ca.crt")
    for given, prefix in ((jobs, "JOBS"), (generator, "GENERATOR")):
        assert given[f"{prefix}_AMQP_URL"] == "amqps://$(RABBITMQ_USERNAME)@mediagen.rabbitmq:5671/mediagen"
        assert given["RABBITMQ_USERNAME"] == "mediagen-default-user:username"
        assert given[f"{prefix}_WORKER_TOKEN" if prefix == "JOBS" else "GENERATOR_WORKER_TOKEN"] == "mediagen:worker-token"
    assert generator["GENERATOR_S3_SECRET_KEY"] == "media-writer:secret-key"
    assert gateway["GATEWAY_S3_SECRET_KEY"] == "media-reader:secret-key"
    assert gateway["GATEWAY_S3_ENDPOINT"] == generator["GENERATOR_S3_ENDPOINT"] == "https://s3.eu-central-1.amazonaws.com"
    assert (gateway["GATEWAY_S3_BUCKET"], gateway["GATEWAY_S3_REGION"]) == ("my-media", "eu-central-1")


def test_a_variable_that_another_one_uses_comes_before_it():
    for name in ("jobs", "generator"):
        names = [one["name"] for one in container(render(EXTERNAL)[f"Deployment/{name}"])["env"]]
        assert names.index("RABBITMQ_USERNAME") < names.index(f"{name.upper()}_AMQP_URL")


def test_users_may_be_named_in_the_values_and_the_gateway_may_have_the_writers_keys():
    plain = {
        "postgresql": {"external": {"secretKeys": {"username": ""}, "caSecret": "", "sslMode": "require", "port": 6432}},
        "rabbitmq": {"external": {"secretKeys": {"username": ""}, "tls": False, "vhost": "/"}},
        "objectStorage": {"external": {"readOnlySecret": ""}},
        "workerToken": {"existingSecret": ""},
    }
    rendered = render(EXTERNAL, plain)
    jobs = variables(rendered, "jobs")
    assert jobs["JOBS_DATABASE_URL"] == "postgresql://mediagen@mediagen-rw.databases:6432/mediagen"
    assert "PGSSLROOTCERT" not in jobs
    assert jobs["JOBS_AMQP_URL"] == "amqp://mediagen@mediagen.rabbitmq:5671/"
    assert variables(rendered, "gateway")["GATEWAY_S3_SECRET_KEY"] == "media-writer:secret-key"
    assert set(rendered["Secret/generated"]["data"]) == {"worker-token"}
    assert jobs["JOBS_WORKER_TOKEN"] == "demo-mediagen-generated:worker-token"


def test_a_whole_uri_of_a_secret_replaces_all_else():
    keys = {"external": {"host": "", "secretKeys": {"uri": "uri"}}}
    rendered = render(EXTERNAL, {"postgresql": keys, "rabbitmq": keys})
    jobs, generator = variables(rendered, "jobs"), variables(rendered, "generator")
    assert jobs["JOBS_DATABASE_URL"] == "mediagen-app:uri"
    assert jobs["JOBS_AMQP_URL"] == generator["GENERATOR_AMQP_URL"] == "mediagen-default-user:uri"
    assert not {"JOBS_DATABASE_PASSWORD", "JOBS_AMQP_PASSWORD", "POSTGRESQL_USERNAME"} & jobs.keys()


# The provider


def test_with_the_simulator_no_token_is_named_and_only_its_files_are_fetched():
    rendered = render(DEFAULT)
    given = variables(rendered, "generator")
    assert given["GENERATOR_REPLICATE_URL"] == "http://demo-mediagen-simulator:8090"
    assert given["GENERATOR_OUTPUT_HOSTS"] == "demo-mediagen-simulator:8091"
    assert "GENERATOR_REPLICATE_TOKEN" not in given
    assert {port["port"] for port in rendered["Service/simulator"]["spec"]["ports"]} == {8090, 8091}


def test_with_a_token_there_is_no_simulator_and_webhooks_are_taken_where_they_are_set_up():
    rendered = render(EXTERNAL)
    given = variables(rendered, "generator")
    assert given["GENERATOR_REPLICATE_TOKEN"] == "replicate:api-token"
    assert given["GENERATOR_WEBHOOK_URL"] == "https://media.example.com"
    assert variables(rendered, "gateway")["GATEWAY_REPLICATE_WEBHOOK_SECRET"] == "replicate:webhook-secret"
    assert not {"GENERATOR_REPLICATE_URL", "GENERATOR_OUTPUT_HOSTS"} & given.keys()
    assert "Deployment/simulator" not in rendered and "ServiceAccount/simulator" not in rendered
    without = render(EXTERNAL, {"replicate": {"url": "https://proxy.example.com", "webhook": {"url": "", "existingSecret": ""}}})
    assert variables(without, "generator")["GENERATOR_REPLICATE_URL"] == "https://proxy.example.com"
    assert "GENERATOR_WEBHOOK_URL" not in variables(without, "generator")
    assert "GATEWAY_REPLICATE_WEBHOOK_SECRET" not in variables(without, "gateway")


# Settings


def test_settings_are_passed_on_as_they_were_meant():
    given = variables(render(EVERYTHING), "jobs")
    assert given["JOBS_CREATES_PER_MINUTE"] == "1000000"
    assert variables(render(EVERYTHING), "generator")["GENERATOR_MAX_OUTPUT_BYTES"] == "1073741824"
    simulated = variables(render(EVERYTHING), "simulator")
    assert (simulated["SIMULATOR_PREDICT_SECONDS"], simulated["SIMULATOR_CONTROL"]) == ("0.5", "true")
    assert variables(render(EVERYTHING), "gateway")["GATEWAY_CORS_ORIGINS"] == "https://a.example.com,https://b.example.com"


def test_one_log_level_is_for_all_and_a_service_may_have_its_own():
    rendered = render(DEFAULT, {"global": {"logLevel": "warning"}, "jobs": {"config": {"logLevel": "debug"}}})
    assert variables(rendered, "gateway")["GATEWAY_LOG_LEVEL"] == "warning"
    assert variables(rendered, "jobs")["JOBS_LOG_LEVEL"] == "debug"


@pytest.mark.parametrize("major", MAJORS)
def test_a_variable_of_the_values_replaces_the_charts(major):
    given = [{"name": "JOBS_LOG_LEVEL", "value": "error"}, {"name": "PGSSLMODE", "value": "disable"}]
    rendered = render(EXTERNAL, {"jobs": {"extraEnv": given}}, major=major)
    assert variables(rendered, "jobs")["JOBS_LOG_LEVEL"] == "error"  # `variables` refuses one that is there twice
    waits = environment(container(rendered["Deployment/jobs"], "wait-for-schema"))
    assert (waits["PGSSLMODE"], waits["JOBS_DATABASE_PASSWORD"]) == ("disable", "mediagen-app:password")


def test_a_probe_may_be_left_out_and_a_strategy_may_be_another_one():
    values = {"gateway": {"probes": {"startup": None}, "strategy": {"type": "Recreate"}}}
    deployment = render(DEFAULT, values)["Deployment/gateway"]
    assert "startupProbe" not in container(deployment) and "livenessProbe" in container(deployment)
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


# The ways in


@pytest.mark.parametrize(
    ("kind", "has"),
    [
        ("ClusterIP", set()),
        ("NodePort", {"externalTrafficPolicy"}),
        ("LoadBalancer", {"externalTrafficPolicy", "loadBalancerSourceRanges"}),
    ],
)
def test_the_gateways_service_has_what_its_type_may_have(kind, has):
    values = {"type": kind, "externalTrafficPolicy": "Local", "loadBalancerSourceRanges": ["192.0.2.0/24"]}
    service = render(DEFAULT, {"gateway": {"service": values}})["Service/gateway"]["spec"]
    assert {"externalTrafficPolicy", "loadBalancerSourceRanges"} & service.keys() == has


def test_an_ingress_a_route_or_a_load_balancer_leads_to_rest_and_links_then_begin_as_the_client_called():
    assert "FORWARDED_ALLOW_IPS" not in variables(render(DEFAULT), "gateway")
    assert variables(render(EXTERNAL), "gateway")["FORWARDED_ALLOW_IPS"] == "*"
    assert variables(render(EVERYTHING), "gateway")["FORWARDED_ALLOW_IPS"] == "10.0.0.0/8"
    ingress = render(EXTERNAL)["Ingress/gateway"]["spec"]
    assert (ingress["ingressClassName"], ingress["tls"][0]["secretName"]) == ("traefik", "media-tls")
    assert "ingressClassName" not in render(EVERYTHING)["Ingress/gateway"]["spec"]
    route = {"httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}}
    routed = render(DEFAULT, {"gatewayApi": route})
    assert "hostnames" not in routed["HTTPRoute/gateway"]["spec"] and routed.of_kind("GRPCRoute") == []
    assert variables(routed, "gateway")["FORWARDED_ALLOW_IPS"] == "*"


def test_grpc_is_routed_by_name_and_to_jobs():
    (rule,) = render(EVERYTHING)["GRPCRoute/jobs"]["spec"]["rules"]
    assert {match["method"]["service"] for match in rule["matches"]} == {"mediagen.jobs.v1.JobsService", "grpc.health.v1.Health"}
    assert rule["backendRefs"] == [{"name": "demo-mediagen-jobs", "port": 50051}]


@pytest.mark.parametrize(("kind", "has_port"), [("ClusterIP", False), ("NodePort", True), ("LoadBalancer", True)])
def test_the_gateways_service_has_a_port_of_the_nodes_where_its_type_has_one(kind, has_port):
    service = render(DEFAULT, {"gateway": {"service": {"type": kind, "nodePort": 30080}}})["Service/gateway"]["spec"]
    assert (service["type"], "nodePort" in service["ports"][0]) == (kind, has_port)


def test_jobs_is_known_by_all_its_addresses_and_called_by_name():
    rendered = render(DEFAULT, {"jobs": {"service": {"port": 6000}}})
    for name in ("jobs", "jobs-internal"):
        assert rendered[f"Service/{name}"]["spec"]["clusterIP"] == "None"
    assert variables(rendered, "gateway")["GATEWAY_JOBS_ADDRESS"] == "demo-mediagen-jobs:6000"
    assert variables(rendered, "jobs")["JOBS_LISTEN"] == "0.0.0.0:6000"
    assert variables(rendered, "generator")["GENERATOR_JOBS_ADDRESS"] == "demo-mediagen-jobs-internal:50052"


# TLS


def test_without_tls_nothing_of_it_is_mounted():
    rendered = render(DEFAULT)
    for name in ("gateway", "jobs", "generator"):
        assert not [variable for variable in variables(rendered, name) if variable.endswith("_FILE")]
    assert rendered["Service/jobs"]["spec"]["ports"][0]["appProtocol"] == "kubernetes.io/h2c"


def test_with_tls_clients_get_the_authority_and_with_mutual_tls_a_certificate_too():
    rendered = render(DEFAULT, {"tls": {"enabled": True, "secretName": "jobs-tls"}})
    assert variables(rendered, "gateway")["GATEWAY_JOBS_CA_FILE"] == "/etc/mediagen/tls-client/ca.crt"
    assert "GATEWAY_JOBS_CERT_FILE" not in variables(rendered, "gateway")
    assert "JOBS_TLS_CLIENT_CA_FILE" not in variables(rendered, "jobs")
    volumes = {one["name"]: one for one in rendered["Deployment/generator"]["spec"]["template"]["spec"]["volumes"]}
    assert volumes["tls-client"]["secret"] == {"secretName": "jobs-tls", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    assert rendered["Service/jobs"]["spec"]["ports"][0]["appProtocol"] == "https"
    mutual = render(DEFAULT, {"tls": {"enabled": True, "secretName": "jobs-tls", "mutual": True}})
    volumes = {one["name"]: one for one in mutual["Deployment/generator"]["spec"]["template"]["spec"]["volumes"]}
    assert volumes["tls-client"]["secret"] == {"secretName": "jobs-tls"}
    assert variables(mutual, "generator")["GENERATOR_JOBS_KEY_FILE"] == "/etc/mediagen/tls-client/tls.key"
    assert variables(mutual, "jobs")["JOBS_TLS_CLIENT_CA_FILE"] == "/etc/mediagen/tls/ca.crt"


@pytest.mark.parametrize("kind", ["configMap", "secret"])
def test_a_custom_authority_is_trusted_by_every_service_and_for_postgresql(kind):
    rendered = render(EXTERNAL, {"customCA": {kind: "company"}, "postgresql": {"external": {"caSecret": ""}}})
    for name in ("gateway", "jobs", "generator"):
        assert variables(rendered, name)["SSL_CERT_FILE"] == "/etc/mediagen/ca/ca.crt"
        volumes = {one["name"]: one for one in rendered[f"Deployment/{name}"]["spec"]["template"]["spec"]["volumes"]}
        assert "company" in volumes["ca"][kind].values()
    assert variables(rendered, "jobs")["PGSSLROOTCERT"] == "/etc/mediagen/ca/ca.crt"
    assert "SSL_CERT_FILE" not in variables(render(EXTERNAL), "jobs")


# What surrounds it


def test_policies_are_there_where_they_are_asked_for_and_each_component_has_one():
    assert render(EXTERNAL).of_kind("NetworkPolicy") == []
    rendered = render(EXTERNAL, {"networkPolicy": {"enabled": True, "postgresqlTo": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]}})
    names = {one["metadata"]["name"].removeprefix("demo-mediagen-") for one in rendered.of_kind("NetworkPolicy")}
    assert names == {"gateway", "jobs", "generator", "migrate", "test"}
    to_postgresql = {"ports": [{"port": 5432, "protocol": "TCP"}], "to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]}
    for name in ("jobs", "migrate"):
        assert to_postgresql in rendered[f"NetworkPolicy/{name}"]["spec"]["egress"]
    generator = rendered["NetworkPolicy/generator"]["spec"]
    assert [rule["ports"][0]["port"] for rule in generator["egress"]] == [53, 50052, 5671, 443, 443]
    assert [rule["ports"][0]["port"] for rule in generator["ingress"]] == [9100]
    (worker,) = [r for r in rendered["NetworkPolicy/jobs"]["spec"]["ingress"] if r["ports"][0]["port"] == 50052]
    assert worker["from"][0]["podSelector"]["matchExpressions"][0]["values"] == ["generator"]
    embedded = render(DEFAULT, {"networkPolicy": {"enabled": True}})
    names = {one["metadata"]["name"].removeprefix("demo-mediagen-") for one in embedded.of_kind("NetworkPolicy")}
    assert names >= {"postgresql", "rabbitmq", "object-storage", "simulator"}
    assert 443 not in [rule["ports"][0]["port"] for rule in embedded["NetworkPolicy/generator"]["spec"]["egress"]]


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("https://s3.example.com", 443),
        ("http://minio.storage", 80),
        ("http://minio.storage:9000", 9000),
        ("https://[fd00::1]:9443", 9443),
    ],
)
def test_the_policy_opens_the_port_of_the_object_storage(endpoint, port):
    values = {"networkPolicy": {"enabled": True}, "objectStorage": {"external": {"endpoint": endpoint}}}
    egress = render(EXTERNAL, values)["NetworkPolicy/gateway"]["spec"]["egress"]
    assert [rule["ports"][0]["port"] for rule in egress] == [53, 50051, port]


def test_policies_open_the_ports_that_the_values_name():
    values = {
        "networkPolicy": {"enabled": True},
        "replicate": {"url": "http://proxy.example.com:8000"},
        "generator": {"config": {"outputHosts": ["replicate.delivery", "files.example.com:8443"]}},
        "tracing": {"endpoint": "http://collector:4318"},
    }
    rendered = render(EXTERNAL, values)
    open_to_all = [rule["ports"] for rule in rendered["NetworkPolicy/generator"]["spec"]["egress"] if "to" not in rule]
    assert {443, 8000, 8443} == {port["port"] for port in open_to_all[-2]}
    for name in ("gateway", "jobs", "generator"):
        assert rendered[f"NetworkPolicy/{name}"]["spec"]["egress"][-1]["ports"] == [{"port": 4318, "protocol": "TCP"}]
    simulated = render(DEFAULT, values | {"replicate": {"url": ""}})["NetworkPolicy/generator"]["spec"]["egress"]
    assert [443, 8443] in [[port["port"] for port in rule["ports"]] for rule in simulated]


@pytest.mark.parametrize("name", ["gateway", "jobs", "generator"])
def test_a_budget_never_holds_up_a_drain_and_may_be_left_out(name):
    budget = render(DEFAULT)[f"PodDisruptionBudget/{name}"]["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    assert f"PodDisruptionBudget/{name}" not in render(DEFAULT, {name: {"pdb": {"enabled": False}}})


@pytest.mark.parametrize("name", ["gateway", "jobs", "generator", "simulator"])
def test_a_service_account_may_be_made_named_or_left_alone(name):
    def account(values: dict[str, object]) -> tuple[str, bool]:
        rendered = render(DEFAULT, {name: {"serviceAccount": values}})
        used = rendered[f"Deployment/{name}"]["spec"]["template"]["spec"]["serviceAccountName"]
        return used, any(one["metadata"]["name"] == used for one in rendered.of_kind("ServiceAccount"))

    assert account({}) == (f"demo-mediagen-{name}", True)
    assert account({"name": "mine"}) == ("mine", True)
    assert account({"create": False}) == ("default", False)
    assert account({"create": False, "name": "mine"}) == ("mine", False)


def test_pods_spread_where_they_can_unless_the_values_say_otherwise():
    def constraints(values: object) -> object:
        rendered = render(DEFAULT, {"jobs": {"topologySpreadConstraints": values}})
        return rendered["Deployment/jobs"]["spec"]["template"]["spec"].get("topologySpreadConstraints")

    spread = constraints(None)
    assert isinstance(spread, list)
    assert [one["topologyKey"] for one in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert {one["whenUnsatisfiable"] for one in spread} == {"ScheduleAnyway"}
    assert constraints([]) is None
    assert constraints([{"topologyKey": "rack"}]) == [{"topologyKey": "rack"}]


def test_what_a_pod_may_be_given_is_where_it_belongs():
    deployment = render(EVERYTHING)["Deployment/gateway"]
    pod = deployment["spec"]["template"]
    assert deployment["metadata"]["annotations"] == {"reloader.stakater.com/auto": "true"}
    assert pod["metadata"]["annotations"] == {"example.com/pod": "yes"}
    assert pod["metadata"]["labels"]["example.com/tier"] == "front" and pod["metadata"]["labels"]["team"] == "media"
    spec = pod["spec"]
    assert spec["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert spec["tolerations"] == [{"key": "media", "operator": "Exists"}]
    assert spec["affinity"]["nodeAffinity"] and spec["priorityClassName"] == "high"
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    assert [one["name"] for one in spec["initContainers"]] == ["first"]
    assert [one["name"] for one in spec["containers"]] == ["gateway", "beside"]
    assert environment(spec["containers"][0])["TZ"] == "UTC"
    assert spec["containers"][0]["envFrom"] == [{"configMapRef": {"name": "more", "optional": True}}]
    assert {"name": "more", "emptyDir": {}} in spec["volumes"]
    assert {"name": "more", "mountPath": "/more"} in spec["containers"][0]["volumeMounts"]
    assert {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}} in spec["volumes"]
    assert spec["containers"][0]["image"].endswith(":1.2.3@sha256:" + "0" * 64)


def test_pods_are_not_replaced_for_another_version_of_the_chart_alone():
    labels = render(DEFAULT)["Deployment/gateway"]["spec"]["template"]["metadata"]["labels"]
    assert not {"helm.sh/chart", "app.kubernetes.io/version"} & labels.keys()


def test_dual_stack_is_one_value_for_the_services_and_one_for_what_they_listen_on():
    assert all(one["spec"]["ipFamilyPolicy"] == "PreferDualStack" for one in render(EVERYTHING).of_kind("Service"))
    assert not [one for one in render(DEFAULT).of_kind("Service") if "ipFamilyPolicy" in one["spec"]]
    assert variables(render(EVERYTHING), "gateway")["GATEWAY_LISTEN"] == "[::]:8080"
    assert variables(render(DEFAULT), "gateway")["GATEWAY_LISTEN"] == "0.0.0.0:8080"


def test_names_may_be_overridden():
    names = {one["metadata"]["name"] for one in render(DEFAULT, {"fullnameOverride": "media"}).of_kind("Deployment")}
    assert names == {"media-gateway", "media-jobs", "media-generator", "media-simulator"}
    assert render(DEFAULT, {"nameOverride": "images"}).of_kind("Deployment")[0]["metadata"]["name"].startswith("demo-images-")
    assert render(DEFAULT, name="mediagen").of_kind("Deployment")[0]["metadata"]["name"].startswith("mediagen-g")


# Observability


RELEASE_LABEL = {"targetLabel": "release", "replacement": "demo"}


def test_monitors_have_the_labels_that_an_operator_looks_for():
    assert render(DEFAULT).of_kind("ServiceMonitor") == render(DEFAULT).of_kind("PodMonitor") == []
    rendered = render(EVERYTHING)
    for one in [*rendered.of_kind("ServiceMonitor"), *rendered.of_kind("PodMonitor")]:
        assert one["metadata"]["labels"]["release"] == "prometheus"
    (endpoint,) = rendered["ServiceMonitor/jobs"]["spec"]["endpoints"]
    assert endpoint == {
        "path": "/metrics",
        "port": "metrics",
        "interval": "15s",
        "relabelings": [RELEASE_LABEL, {"action": "labeldrop", "regex": "endpoint"}],
        "metricRelabelings": [{"action": "drop", "regex": "python_gc_.*", "sourceLabels": ["__name__"]}],
    }
    plain = render(DEFAULT, {"metrics": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}})
    assert plain["PodMonitor/generator"]["spec"]["podMetricsEndpoints"] == [
        {"path": "/metrics", "port": "metrics", "relabelings": [RELEASE_LABEL]}
    ]


RULES = """groups:
  - name: tests
    rules:
      - alert: Always
        expr: vector(1)
        annotations: {summary: "{{ $labels.instance }} of {{ $value }}"}
"""


def test_rules_and_dashboards_are_whatever_files_there_are_just_as_they_are(tmp_path):
    chart = tmp_path / "mediagen"
    shutil.copytree(CHART, chart)
    for folder in ("rules", "dashboards"):
        shutil.rmtree(chart / "files" / folder, ignore_errors=True)
    on = {"metrics": {"prometheusRule": {"enabled": True, "labels": {"release": "p"}}, "dashboards": {"enabled": True}}}
    none = render(DEFAULT, on, chart=chart)
    assert none.of_kind("PrometheusRule") == []
    dashboard = json.dumps({"uid": "one", "panels": [{"legendFormat": "{{pod}}"}]}, indent=2)
    for folder in ("rules", "dashboards"):
        (chart / "files" / folder).mkdir()
    for name in ("one", "two"):
        (chart / "files" / "rules" / f"{name}.yaml").write_text(RULES)
        (chart / "files" / "dashboards" / f"{name}.json").write_text(dashboard)
    found = render(DEFAULT, on, {"tests": {"enabled": True}}, chart=chart)
    rules = found["PrometheusRule/rules-one"]
    assert rules["metadata"]["labels"]["release"] == "p"
    assert rules["spec"]["groups"][0]["rules"][0]["annotations"]["summary"] == "{{ $labels.instance }} of {{ $value }}"
    shown = found["ConfigMap/dashboard-two"]
    assert shown["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(shown["data"]["two.json"]) == json.loads(dashboard)
    labelled = {"metrics": {"dashboards": {"label": "boards", "labelValue": "yes", "annotations": {"folder": "media"}}}}
    other = render(DEFAULT, on, labelled, {"tests": {"enabled": True}}, chart=chart)["ConfigMap/dashboard-one"]["metadata"]
    assert (other["labels"]["boards"], other["annotations"]) == ("yes", {"folder": "media"})
    off = render(DEFAULT, {"tests": {"enabled": True}}, chart=chart)
    assert off.of_kind("PrometheusRule") == [] and "ConfigMap/dashboard-one" not in off


def test_alerts_lead_to_where_the_runbooks_are_kept():
    def urls(where: str) -> set[str]:
        rules = {"metrics": {"prometheusRule": {"enabled": True, "runbookUrl": where}}}
        return {
            rule["annotations"]["runbook_url"]
            for one in render(DEFAULT, rules).of_kind("PrometheusRule")
            for group in one["spec"]["groups"]
            for rule in group["rules"]
            if "alert" in rule
        }

    assert "docs/runbooks/MediagenDatabaseDown.md" in urls("")
    pages = urls("https://git.example.com/runbooks/")
    assert "https://git.example.com/runbooks/MediagenDatabaseDown.md" in pages
    assert all(page.startswith("https://git.example.com/runbooks/Mediagen") for page in pages)


def test_the_broker_of_the_chart_is_scraped_where_the_services_are():
    on = {"metrics": {"serviceMonitor": {"enabled": True}}}
    rendered = render(DEFAULT, on, {"rabbitmq": {"embedded": {"enabled": True}}})
    monitor, service = rendered["ServiceMonitor/rabbitmq"]["spec"], rendered["Service/rabbitmq"]
    assert monitor["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    elsewhere = {"rabbitmq": {"embedded": {"enabled": False}, "external": {"host": "broker", "existingSecret": "broker"}}}
    assert "ServiceMonitor/rabbitmq" not in render(DEFAULT, on, elsewhere)


def test_alerts_are_left_out_by_their_names():
    def names(*disabled: str) -> set[str]:
        rules = {"metrics": {"prometheusRule": {"enabled": True, "disabled": list(disabled)}}}
        groups = [group for one in render(DEFAULT, rules).of_kind("PrometheusRule") for group in one["spec"]["groups"]]
        return {rule.get("alert") or rule["record"] for group in groups for rule in group["rules"]}

    assert names() - names("MediagenBacklogAgeHigh", "MediagenStaleReports") == {"MediagenBacklogAgeHigh", "MediagenStaleReports"}


def test_traces_go_where_the_values_say_and_nowhere_otherwise():
    assert not [name for name in variables(render(DEFAULT), "jobs") if name.startswith("OTEL_")]
    for name in ("gateway", "jobs", "generator"):
        given = variables(render(EVERYTHING), name)
        assert given["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector.monitoring:4318"
        assert (given["OTEL_TRACES_SAMPLER"], given["OTEL_TRACES_SAMPLER_ARG"]) == ("parentbased_traceidratio", "0.1")
    plain = variables(render(DEFAULT, {"tracing": {"endpoint": "http://c:4318"}}), "jobs")
    assert "OTEL_TRACES_SAMPLER_ARG" not in plain and plain["OTEL_TRACES_SAMPLER"] == "parentbased_always_on"


def test_a_collector_behind_the_custom_authority_is_trusted():
    values = {"customCA": {"secret": "company"}, "tracing": {"endpoint": "https://collector:4318"}}
    for name in ("gateway", "jobs", "generator"):
        assert variables(render(EXTERNAL, values), name)["OTEL_EXPORTER_OTLP_CERTIFICATE"] == "/etc/mediagen/ca/ca.crt"
    without = variables(render(EXTERNAL, values, {"customCA": {"secret": ""}}), "jobs")
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE" not in without


# The pod of helm test, and the rest


def test_helm_test_makes_a_job_with_the_simulator_and_asks_for_readiness_otherwise():
    given = environment(container(render(DEFAULT)["Pod/test"]))
    assert given["MAKE_A_JOB"] == "true" and "JOBS_DATABASE_URL" in given
    assert environment(container(render(EXTERNAL)["Pod/test"])) == {"GATEWAY_URL": "http://demo-mediagen-gateway:80"}
    pod = render(DEFAULT)["Pod/test"]
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert "hook-succeeded" in pod["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
    off = render(DEFAULT, {"tests": {"enabled": False}})
    assert off.of_kind("Pod") == [] and "ConfigMap/test" not in off


def test_more_objects_may_be_objects_or_text_and_are_templates():
    names = [one["metadata"]["name"] for one in render(EVERYTHING).of_kind("ConfigMap")]
    assert "demo-extra" in names and "demo-as-text" in names


@pytest.mark.parametrize(
    ("values", "says", "not_says"),
    [
        ({}, ["port-forward svc/demo-mediagen-gateway 8080:80", "scale deployment/demo-mediagen-generator", "simulator"], []),
        ({"gateway": {"service": {"type": "NodePort", "nodePort": 30080}}}, ["port 30080 of any node"], ["port-forward"]),
        ({"ingress": {"enabled": True, "hosts": ["a.example.com"]}}, ["URL=http://a.example.com"], ["port-forward"]),
        (
            {"gatewayApi": {"httpRoute": {"enabled": True, "parentRefs": [{"name": "p"}], "hostnames": ["b.example.com"]}}},
            ["URL=https://b.example.com"],
            ["port-forward"],
        ),
        ({"gateway": {"service": {"type": "LoadBalancer"}}}, ["URL=http://$(kubectl", "loadBalancer.ingress"], ["port-forward"]),
        (
            {
                "tls": {"enabled": True, "secretName": "jobs-tls", "mutual": True},
                "gatewayApi": {"grpcRoute": {"enabled": True, "parentRefs": [{"name": "p"}]}},
            },
            [
                "demo-mediagen-jobs\n",
                "demo-mediagen-jobs-internal\n",
                "demo-mediagen-jobs.media\n",
                "demo-mediagen-jobs.media.svc\n",
                "ca.crt of the Secret jobs-tls, and show a certificate",
                "needs a BackendTLSPolicy",
                "and a client certificate",
            ],
            [],
        ),
        ({"generator": {"keda": {"enabled": True}}}, [], ["scale deployment"]),
        ({}, ["the embedded postgresql, rabbitmq, objectStorage are for tests", "the data goes with the release"], []),
    ],
)
def test_the_notes_say_what_to_do_next(values, says, not_says, tmp_path):
    notes = (CHART / "templates" / "NOTES.txt").read_text()
    chart = tmp_path / "mediagen"
    shutil.copytree(CHART, chart)
    (chart / "templates" / "notes.yaml").write_text(
        'kind: Notes\nmetadata: {name: demo-mediagen-notes}\ntext: {{ include "notes" . | quote }}\n'
    )
    (chart / "templates" / "_notes.tpl").write_text(f'{{{{- define "notes" -}}}}{notes}{{{{- end }}}}')
    text = render(DEFAULT, values, chart=chart).one("Notes")["text"]
    for words in says:
        assert words in text
    for words in not_says:
        assert words not in text
