"""Rendering the chart, and reading what came out: tests/chart needs Helm and no cluster."""

import functools
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

import helm
from services import ROOT

CHART = ROOT / "deploy" / "helm" / "mediagen"
VALUES = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}
MAJORS = tuple(helm.VERSIONS)
NEWEST = max(MAJORS)
RELEASE, NAMESPACE = "demo", "media"
KUBERNETES = "1.30.0"
"""The oldest that the chart is for. Without a cluster a Helm that was built from source would take 1.20."""

Manifest = dict[str, Any]


class Refused(Exception):
    """Helm rendered nothing; the message is what it said."""


class Rendered:
    """The resources of one rendering."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.manifests: list[Manifest] = [found for found in yaml.safe_load_all(text) if found]

    def __getitem__(self, which: str) -> Manifest:
        """The one resource of this kind and name, such as `Deployment/gateway`; the release's name is left out."""
        kind, _, name = which.partition("/")
        wanted = f"{RELEASE}-mediagen-{name}" if name else f"{RELEASE}-mediagen"
        (found,) = [one for one in self.of_kind(kind) if one["metadata"]["name"] == wanted]
        return found

    def __contains__(self, which: str) -> bool:
        kind, _, name = which.partition("/")
        return any(one["metadata"]["name"] == f"{RELEASE}-mediagen-{name}" for one in self.of_kind(kind))

    def of_kind(self, kind: str) -> list[Manifest]:
        return [one for one in self.manifests if one["kind"] == kind]

    def one(self, kind: str, beginning: str = "") -> Manifest:
        """The only resource of a kind whose name goes on like this after the release's."""
        (found,) = [one for one in self.of_kind(kind) if one["metadata"]["name"].startswith(f"{RELEASE}-mediagen-{beginning}")]
        return found

    def pods(self) -> Iterator[tuple[str, Manifest]]:
        """Every pod that would run, as the name of what it belongs to and an object with metadata and spec."""
        for one in self.manifests:
            name = f"{one['kind']}/{one['metadata']['name']}"
            if one["kind"] == "Pod":
                yield name, one
            elif "template" in one.get("spec", {}):
                yield name, one["spec"]["template"]

    def containers(self) -> Iterator[tuple[str, Manifest]]:
        """Every container, init containers included."""
        for name, pod in self.pods():
            for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
                yield f"{name} {container['name']}", container


def container(deployment: Manifest, name: str = "") -> Manifest:
    """The first container of a pod's owner, or the one of that name, also among the init containers."""
    spec = deployment["spec"]["template"]["spec"] if "template" in deployment["spec"] else deployment["spec"]
    found: Manifest = next(
        one for one in [*spec["containers"], *spec.get("initContainers", [])] if name in ("", one["name"])
    )  # fmt: skip
    return found


def environment(of: Manifest) -> dict[str, Any]:
    """A container's variables: the value, or where it comes from as `secret:key`."""
    found: dict[str, Any] = {}
    for variable in of["env"]:
        assert variable["name"] not in found, f"{variable['name']} is set twice"
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        found[variable["name"]] = f"{reference['name']}:{reference['key']}" if reference else variable["value"]
    return found


def render(
    *values: Path | Mapping[str, Any], major: int = NEWEST, chart: Path = CHART, flags: Sequence[str] = (), name: str = RELEASE
) -> Rendered:
    """What `helm template` makes of values, which are files or mappings; later ones win. Raises Refused."""
    frozen = tuple(yaml.safe_dump(one) if isinstance(one, Mapping) else one.read_text() for one in values)
    return Rendered(_template(frozen, major, chart, tuple(flags), name))


@functools.cache
def _template(values: tuple[str, ...], major: int, chart: Path, flags: tuple[str, ...], name: str) -> str:
    command = [
        str(helm.path_of(major)),
        "template",
        name,
        str(chart),
        "--namespace",
        NAMESPACE,
        "--kube-version",
        KUBERNETES,
        *flags,
    ]
    merged: dict[str, Any] = {}
    for one in values:
        merge(merged, yaml.safe_load(one) or {})
    command += ["--values", "-"]
    done = subprocess.run(command, input=yaml.safe_dump(merged), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(re.sub(r"\s+", " ", done.stderr))
    return done.stdout


def merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    """As Helm merges values: maps are merged, all else is replaced."""
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value
