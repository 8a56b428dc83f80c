"""Writes docs/metrics.md from what the code exports: `python docs/metrics_page.py`, with `--check` only compares.

Each service is imported in a process of its own, as it would be started, and its registry is read.
"""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "metrics.md"
SERVICES = ("gateway", "jobs", "generator")

READ = """
import importlib, json, sys
from prometheus_client import REGISTRY, disable_created_metrics
disable_created_metrics()
importlib.import_module(sys.argv[1] + ".__main__")
found = []
for collector in list(REGISTRY._collector_to_names):
    for family in collector.describe() if hasattr(collector, "describe") else collector.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        found.append((name, family.type, list(getattr(collector, "_labelnames", ())), family.documentation))
json.dump(found, sys.stdout)
"""

MARK = "<!-- From here on the page is generated: make metrics-page -->"
"""What is above it is written by hand."""


def page() -> str:
    """The page as the code has it now."""
    services: defaultdict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for service in SERVICES:
        for name, kind, labels, text in _exported(service):
            services[name, kind, ", ".join(f"`{label}`" for label in labels), text].append(service)
    own = {metric: of for metric, of in services.items() if metric[0].startswith(("mediagen_", "grpc_"))}
    shared = {metric: of for metric, of in services.items() if metric not in own}
    head = PAGE.read_text().partition(MARK)[0]
    return "\n".join(
        [head + MARK, "", *_table(own), "", "From the client library, of the process itself:", "", *_table(shared), ""]
    )


def _exported(service: str) -> list[tuple[str, str, list[str], str]]:
    environment = {"PYTHONPATH": f"{ROOT}/services:{ROOT}/protos/gen"}
    read = subprocess.run([sys.executable, "-c", READ, service], env=environment, capture_output=True, check=True)  # noqa: S603
    return [(name, kind, labels, text) for name, kind, labels, text in json.loads(read.stdout)]


def _table(metrics: dict[tuple[str, str, str, str], list[str]]) -> list[str]:
    rows = ["| Metric | Type | Labels | Of | Meaning |", "| --- | --- | --- | --- | --- |"]
    for (name, kind, labels, text), of in sorted(metrics.items()):
        rows.append(f"| `{name}` | {kind} | {labels} | {', '.join(of)} | {text} |")
    return rows


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page())
    elif page() != PAGE.read_text():
        sys.exit("docs/metrics.md is not what the code exports: run make metrics-page")
