"""kubectl and Helm as the tests call them, and the choices of whoever runs them."""

import base64
import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from chart.rendering import Manifest
from services import ROOT

NODE = os.environ.get("E2E_NODE", "")
"""An address at which NodePorts answer; that of the first node where it is empty."""

VALUES = [Path(name) for name in os.environ.get("E2E_VALUES", "").split()]
"""Files of values that win over those of the tests, such as for images of a registry of your own."""

OWN_VALUES = ROOT / "tests" / "e2e" / "values.yaml"


OF_THE_TESTS = "made-by=the-tests"
"""The label of secrets that a test made beside a release."""


class CommandFailed(AssertionError):
    """A command ended with another exit code than 0; the message is what it said."""


def run(*command: str, stdin: str = "", seconds: float = 600) -> str:
    """What a command prints. Raises CommandFailed."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=seconds)
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(command)[:300]} ended with {done.returncode}: {done.stderr.strip()[-3000:]}")
    return done.stdout


def node() -> str:
    """The address at which NodePorts answer."""
    path = '{.items[0].status.addresses[?(@.type=="InternalIP")].address}'
    return NODE or run("kubectl", "get", "nodes", "-o", f"jsonpath={path}")


class Namespace:
    """A namespace of the test's own, in which the strictest Pod Security Standard is enforced."""

    def __init__(self, name: str) -> None:
        """One of that name that is left of an earlier run goes first."""
        self.name = name
        self.delete()
        run("kubectl", "create", "namespace", name)
        run("kubectl", "label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")

    def delete(self) -> None:
        """With all that is in it."""
        run("kubectl", "delete", "namespace", self.name, "--ignore-not-found", "--wait", "--timeout=5m")

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """What kubectl says in here."""
        return run("kubectl", "--namespace", self.name, *arguments, stdin=stdin)

    def get(self, *arguments: str) -> list[Manifest]:
        """The objects that `kubectl get` lists."""
        found = json.loads(self.kubectl("get", *arguments, "--output=json"))
        items: list[Manifest] = found.get("items", [found])
        return items

    def make_secret(self, name: str, texts: Mapping[str, str]) -> None:
        """A secret of these texts."""
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(texts)}
        self.kubectl("create", "--filename=-", stdin=json.dumps(secret))
        self.kubectl("label", "secret", name, OF_THE_TESTS)

    def secret(self, name: str) -> dict[str, str]:
        """A secret's texts."""
        (found,) = self.get("secret", name)
        return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}

    def left(self) -> list[str]:
        """What is in here and would not be in an empty namespace, once what was deleted has gone."""
        kinds = ",".join(run("kubectl", "api-resources", "--namespaced", "--verbs=list", "--output=name").split())
        deadline = time.monotonic() + 120
        while True:
            found = self.kubectl("get", kinds, "--output=name", "--ignore-not-found").split()
            ours = [one for one in found if not one.startswith(PASSING) and one not in OF_EVERY_NAMESPACE]
            if not ours or time.monotonic() > deadline:
                return ours
            time.sleep(2)


PASSING = ("event", "podmetrics", "pods.metrics")
"""Beginnings of what a cluster notes of pods, and forgets by itself."""

OF_EVERY_NAMESPACE = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
