"""A release of the chart, as the history checker wants a running system."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

import helm
from chart.rendering import CHART, RELEASE, Manifest
from e2e.cluster import OWN_VALUES, VALUES, Namespace, node, run
from history.evidence import Row

FULLNAME = f"{RELEASE}-mediagen"
SERVICES = ("gateway", "jobs", "generator")
STORES = ("postgresql", "rabbitmq", "object-storage")
METRICS_PORT = 9100

OF_A_NAMESPACE = "tested-in"
"""The label of our services' pods with the name of their namespace: who drains a node can choose no other way."""


@dataclass
class Keys:
    """Object storage."""

    endpoint: str
    access_key: str
    secret_key: str


@dataclass
class Wiring:
    """What the services stand on, as this machine reaches it."""

    database_url: str
    amqp_url: str
    store: Keys
    bucket: str
    worker_token: str


class Release:
    """One release in a namespace of its own."""

    def __init__(self, namespace: Namespace, major: int, state: Path) -> None:
        """To be installed by Helm of this major version; `state` is a folder for logs."""
        self.namespace = namespace
        self.state = state
        self._helm = str(helm.path_of(major))
        self.atomic = "--atomic" if major == 3 else "--rollback-on-failure"
        """The flag by which an installation that fails leaves nothing."""

    # --- Helm

    def install(self, *flags: str, **values: object) -> None:
        """Install, or upgrade, with these values over the tests' own, and wait until all is ready."""
        files = [f"--values={path}" for path in (OWN_VALUES, *VALUES)]
        labels = [f"--set-string={service}.podLabels.{OF_A_NAMESPACE}={self.namespace.name}" for service in SERVICES]
        command = ("upgrade", "--install", RELEASE, str(CHART), *files, "--values=-", *labels, "--wait", "--timeout=8m", *flags)
        self.helm(*command, stdin=yaml.safe_dump(values))

    def helm(self, *arguments: str, stdin: str = "") -> str:
        """What Helm says in the release's namespace."""
        return run(self._helm, "--namespace", self.namespace.name, *arguments, stdin=stdin)

    def uninstall(self) -> None:
        """Remove the release, and wait until Helm has."""
        self.helm("uninstall", RELEASE, "--wait", "--timeout=5m")

    # --- Kubernetes

    def kubectl(self, *arguments: str) -> str:
        """What kubectl says in the release's namespace."""
        return self.namespace.kubectl(*arguments)

    def pods(self, component: str = "") -> list[Manifest]:
        """The pods of a component, or of all, that are not on their way out."""
        chosen = [f"app.kubernetes.io/instance={RELEASE}", *([f"app.kubernetes.io/component={component}"] if component else [])]
        found = self.namespace.get("pods", f"--selector={','.join(chosen)}", "--field-selector=status.phase=Running")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def names(self, component: str) -> list[str]:
        """The names of its pods."""
        return [pod["metadata"]["name"] for pod in self.pods(component)]

    def scale(self, component: str, replicas: int) -> None:
        """`kubectl scale`, and wait until so many pods are ready."""
        self.kubectl("scale", f"deployment/{FULLNAME}-{component}", f"--replicas={replicas}")
        self.rolled_out(component)

    def roll(self, component: str) -> None:
        """Replace every pod of a component, as `kubectl rollout restart` does."""
        self.kubectl("rollout", "restart", f"{self._kind(component)}/{FULLNAME}-{component}")
        self.rolled_out(component)

    def rolled_out(self, component: str) -> None:
        """Wait until every pod is new and ready, and the old ones are gone."""
        self.kubectl("rollout", "status", f"{self._kind(component)}/{FULLNAME}-{component}", "--timeout=5m")
        wanted = int(self.kubectl("get", f"{self._kind(component)}/{FULLNAME}-{component}", "-o=jsonpath={.spec.replicas}"))
        deadline = time.monotonic() + 120
        selector = f"--selector=app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component={component}"
        while len(found := self.namespace.get("pods", selector)) != wanted:
            if time.monotonic() > deadline:
                raise AssertionError(f"{component} has {len(found)} pods instead of {wanted}")
            time.sleep(1)

    def drain(self) -> set[str]:
        """`kubectl drain` the node of a gateway of our services' pods, and return their names.

        It takes pods again at once, as there may be no other node.
        """
        node = self.pods("gateway")[0]["spec"]["nodeName"]
        there = {pod["metadata"]["name"] for name in SERVICES for pod in self.pods(name) if pod["spec"]["nodeName"] == node}
        ours = f"--pod-selector={OF_A_NAMESPACE}={self.namespace.name},app.kubernetes.io/component in ({','.join(SERVICES)})"
        flags = ("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=5m")
        with ThreadPoolExecutor(1) as thread:
            drained = thread.submit(run, "kubectl", "drain", node, ours, *flags)
            try:
                while not drained.done() and run("kubectl", "get", "node", node, "-o=jsonpath={.spec.unschedulable}") != "true":
                    time.sleep(0.2)
            finally:
                run("kubectl", "uncordon", node)
            drained.result()
        return there

    def replicas(self, component: str) -> int:
        """How many pods the component is to have."""
        return int(self.kubectl("get", f"deployment/{FULLNAME}-{component}", "-o=jsonpath={.spec.replicas}"))

    def metrics(self, pod: str) -> str:
        """What a pod exports."""
        path = f"/api/v1/namespaces/{self.namespace.name}/pods/{pod}:{METRICS_PORT}/proxy/metrics"
        return run("kubectl", "get", "--raw", path)

    @staticmethod
    def _kind(component: str) -> str:
        return "statefulset" if component in STORES else "deployment"

    # --- what tests/history asks for

    @cached_property
    def gateway_url(self) -> str:
        """REST."""
        return f"http://{self._door(f'{FULLNAME}-gateway')}"

    @cached_property
    def jobs_address(self) -> str:
        """JobsService."""
        return self._door(f"{FULLNAME}-test-jobs")

    @cached_property
    def simulator_url(self) -> str:
        """The simulator, with its control interface."""
        return f"http://{self._door(f'{FULLNAME}-test-simulator')}"

    @cached_property
    def services(self) -> Wiring:
        """The stores' addresses and passwords."""
        secret = self.namespace.secret(f"{FULLNAME}-generated")
        postgresql, rabbitmq, s3 = [self._door(f"{FULLNAME}-test-{store}") for store in STORES]
        return Wiring(
            f"postgresql://mediagen:{secret['postgresql-password']}@{postgresql}/mediagen",
            f"amqp://mediagen:{secret['rabbitmq-password']}@{rabbitmq}/mediagen",
            Keys(f"http://{s3}", secret["object-storage-access-key"], secret["object-storage-secret-key"]),
            "media",
            secret["worker-token"],
        )

    @cached_property
    def api_key(self) -> str:
        """A key of the tenant `tests`."""
        return self.create_key("tests")

    def create_key(self, tenant: str) -> str:
        """A new key of a tenant, as NOTES.txt says how to make one."""
        create = ("python", "-m", "jobs", "keys", "create", "--tenant", tenant, "--name", "tests")
        return self.kubectl("exec", f"deploy/{FULLNAME}-jobs", "-c", "jobs", "--", *create).strip()

    def generators(self) -> int:
        """How many of them run."""
        return len(self.pods("generator"))

    def vitals(self) -> list[Row]:
        """A sample of every pod of ours, from its own metrics, which do not count connections; they are descriptors, too."""
        rows: list[Row] = []
        for service in SERVICES:
            for pod in self.names(service):
                told = self.metrics(pod)
                rss, descriptors = [
                    float(re.findall(rf"^process_{name} (\S+)$", told, re.MULTILINE)[0])
                    for name in ("resident_memory_bytes", "open_fds")
                ]
                rows.append(
                    {"at": time.time(), "part": pod, "pid": pod, "rss": int(rss), "descriptors": int(descriptors), "connections": 0}
                )
        return rows

    def psql(self, statement: str, database: str = "mediagen") -> str:
        """What the embedded PostgreSQL answers."""
        password = f"PGPASSWORD={self.namespace.secret(f'{FULLNAME}-generated')['postgresql-password']}"
        ask = ("psql", "--host=127.0.0.1", "--username=mediagen", f"--dbname={database}", "--tuples-only", "--no-align")
        return self.kubectl(
            "exec", f"statefulset/{FULLNAME}-postgresql", "--", "env", password, *ask, "--command", statement
        ).strip()

    def schema(self, database: str = "mediagen") -> str:
        """The revision that a database of the embedded PostgreSQL is at."""
        return self.psql("SELECT version_num FROM alembic_version", database)

    def rabbitmqctl(self, *arguments: str) -> str:
        """What RabbitMQ's own tool says."""
        return self.kubectl("exec", f"statefulset/{FULLNAME}-rabbitmq", "--", "rabbitmqctl", "--quiet", *arguments)

    def log_files(self) -> list[Path]:
        """The logs of all pods that run, and of those that ran before in them."""
        self.state.mkdir(parents=True, exist_ok=True)
        for pod in self.pods():
            name = pod["metadata"]["name"]
            (self.state / f"{name}.log").write_text(self.kubectl("logs", name, "--all-containers"))
        return sorted(self.state.glob("*.log"))

    def _door(self, service: str) -> str:
        port = self.kubectl("get", "service", service, "-o=jsonpath={.spec.ports[0].nodePort}")
        return f"{node()}:{port}"
