"""Writes the dashboards of the chart, `make dashboards`; with --check it only says whether they are current.

Each is a module of pages/; grafana.py makes the JSON. They are committed, so that the chart needs no program.
"""

import json
import sys
from pathlib import Path

from grafana import render
from pages import dependencies, gateway, generators, jobs, kubernetes, overview, queue

FOLDER = Path(__file__).resolve().parents[1] / "helm" / "mediagen" / "files" / "dashboards"
DASHBOARDS = (
    overview.DASHBOARD,
    gateway.DASHBOARD,
    jobs.DASHBOARD,
    generators.DASHBOARD,
    queue.DASHBOARD,
    dependencies.DASHBOARD,
    kubernetes.DASHBOARD,
)


def files() -> dict[Path, str]:
    """What each file is to hold."""
    return {FOLDER / f"{one.name}.json": json.dumps(render(one), indent=2) + "\n" for one in DASHBOARDS}


def main() -> None:
    """Writes or compares; the exit code is 1 where a file is not what it should be."""
    wanted = files()
    found = {path: path.read_text() for path in FOLDER.glob("*.json")}
    if found == wanted:
        return
    if "--check" in sys.argv:
        sys.exit("the dashboards are not what their program writes: run make dashboards")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in found.keys() - wanted.keys():
        path.unlink()
    for path, text in wanted.items():
        path.write_text(text)


main()
