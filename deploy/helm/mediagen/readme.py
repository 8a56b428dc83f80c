"""Writes the chart's README.md from values.yaml: `make chart-readme`; with --check it only says whether it is current.

A comment that begins with `# --` describes the key below it. Of jobs, generator and simulator only what differs from gateway is
listed.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent
KEY = re.compile(r"( *)([A-Za-z][\w.-]*):( |$)")
LIKE_GATEWAY = ("jobs", "generator", "simulator")

HEAD = """# The chart mediagen

<!-- Written by readme.py from values.yaml: make chart-readme -->

{description}
This page lists the values. The chart renders with Helm 3 and Helm 4, for Kubernetes 1.30 and newer. Its images are described in
[docs/images.md](../../../docs/images.md), upgrades in [docs/upgrades.md](../../../docs/upgrades.md).

Secrets that are not named are generated, and found again at an upgrade by `lookup`. Where charts are rendered without a
cluster (Argo CD, `helm template | kubectl apply`) nothing can be found: name your own there, with every `existingSecret`.
Passwords may hold any character; that of the embedded RabbitMQ, letters and digits. Pods are not told of a Secret that
changes: `annotations` of a component take a reloader's, which certificates of mutual TLS need.

    helm install mediagen deploy/helm/mediagen --namespace mediagen --create-namespace --values my-values.yaml

To try it without Replicate and without stores of your own, for a test:

    helm install mediagen deploy/helm/mediagen --namespace mediagen --create-namespace --wait \\
        --set simulator.enabled=true --set postgresql.embedded.enabled=true \\
        --set rabbitmq.embedded.enabled=true --set objectStorage.embedded.enabled=true

`ci/` holds three sets of values that the tests render: the smallest, one for production with external stores, and one with
everything on. `values.schema.json` refuses what is misspelt, `templates/validations.yaml` what cannot work, in sentences.
`gateway`, `jobs`, `generator` and `simulator` have the same keys; of the last three only what differs from `gateway` is listed.
"""


def described(text: str) -> Iterator[tuple[str, str]]:
    """Every key of values.yaml as a dotted path, with its description, which may be empty."""
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        if line.strip().startswith("# --"):
            comment = [line.strip().removeprefix("# --").strip()]
        elif line.strip().startswith("#") and comment:
            comment.append(line.strip().removeprefix("#").strip())
        elif found := KEY.match(line):
            indent = len(found[1])
            path = [(at, key) for at, key in path if at < indent] + [(indent, found[2])]
            yield ".".join(key for _, key in path), " ".join(comment)
            comment = []
        else:
            comment = []


def default_of(values: Any, path: str) -> Any:
    """The value at a dotted path."""
    for key in path.split("."):
        values = values[key]
    return values


def rows(text: str) -> Iterator[tuple[str, Any, str]]:
    """What the table lists: path, default and description."""
    values = yaml.safe_load(text)
    descriptions = dict(described(text))
    for path, description in descriptions.items():
        default = default_of(values, path)
        component, _, rest = path.partition(".")
        if component in LIKE_GATEWAY and not description:
            description = descriptions.get(f"gateway.{rest}", "")
            if not description or default == default_of(values, f"gateway.{rest}"):
                continue
        if description:
            yield path, default, description


def readme() -> str:
    """The whole page."""
    text = (CHART / "values.yaml").read_text()
    description = yaml.safe_load((CHART / "Chart.yaml").read_text())["description"]
    lines = [HEAD.format(description=description).rstrip("\n")]
    section = ""
    for path, default, description in rows(text):
        top = path.partition(".")[0]
        if "." not in path:
            top = "Names" if path.endswith("Override") else path
        if top != section:
            section = top
            lines.append(f"\n## {top}\n\n| Value | Default | What it is |\n| --- | --- | --- |")
        shown = json.dumps(default, ensure_ascii=False)
        lines.append(f"| `{path}` | `{shown}` | {description.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """0, or 1 where the README is not what values.yaml says and was only to be checked."""
    target = CHART / "README.md"
    if arguments == ["--check"]:
        if target.exists() and target.read_text() == readme():
            return 0
        print(f"{target} is not what values.yaml says: run make chart-readme", file=sys.stderr)
        return 1
    target.write_text(readme())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
