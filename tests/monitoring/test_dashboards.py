"""The dashboards of the chart: they are what their program writes, ask for what there is, and say what good looks like."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from monitoring.metrics import OTHERS, OWN, TARGET_LABELS, grouping, selectors
from monitoring.rule_files import RECORDED
from services import ROOT

FOLDER = ROOT / "deploy" / "helm" / "mediagen" / "files" / "dashboards"
DASHBOARDS: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
DATASOURCE = {"type": "prometheus", "uid": "$datasource"}


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Those that show something."""
    return (panel for panel in dashboard["panels"] if panel["type"] != "row")


QUERIES = [
    pytest.param(target["expr"], id=f"{name}: {panel['title']} {target['refId']}")
    for name, dashboard in DASHBOARDS.items()
    for panel in panels(dashboard)
    for target in panel["targets"]
]


def test_the_committed_dashboards_are_what_their_program_writes():
    checked = subprocess.run(
        [sys.executable, ROOT / "deploy" / "dashboards", "--check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_their_addresses_stay_the_same():
    uids = {dashboard["uid"] for dashboard in DASHBOARDS.values()}
    names = ("overview", "gateway", "jobs", "generators", "queue", "dependencies", "kubernetes")
    assert uids == {f"mediagen-{name}" for name in names}, "links and bookmarks hold them"
    assert all(dashboard["uid"] == f"mediagen-{name}" for name, dashboard in DASHBOARDS.items())


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_leads_to_the_others_and_takes_its_variables_along(name):
    dashboard = DASHBOARDS[name]
    assert dashboard["editable"] is False and dashboard["description"]
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource", "namespace", "release"]
    assert not any(variable.get("includeAll") for variable in dashboard["templating"]["list"]), "one release at a time"
    (link,) = dashboard["links"]
    assert link["type"] == "dashboards" and link["includeVars"] and link["keepTime"]
    assert set(link["tags"]) <= set(dashboard["tags"])
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_panel_says_what_it_shows_and_what_good_looks_like(name):
    titles = [panel["title"] for panel in panels(DASHBOARDS[name])]
    assert len(titles) == len(set(titles)) > 5
    for panel in panels(DASHBOARDS[name]):
        assert "Good: " in panel["description"] and panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"] == DATASOURCE and panel["targets"], panel["title"]
        legends = [target["legendFormat"] for target in panel["targets"]]
        assert all(legends) and len(legends) == len(set(legends)), panel["title"]
        assert all(target["datasource"] == DATASOURCE for target in panel["targets"]), panel["title"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_do_not_overlap(name):
    taken = [panel["gridPos"] for panel in DASHBOARDS[name]["panels"]]
    cells = [(x, y) for at in taken for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)


@pytest.mark.parametrize("expr", QUERIES)
def test_a_query_asks_for_what_is_exported_and_within_the_chosen_release(expr):
    asked = selectors(expr)
    assert asked
    labels: set[str] = set()
    for selector in asked:
        if selector.family in OWN or selector.name in RECORDED:
            own = {*OWN.get(selector.family, ("", frozenset()))[1], *TARGET_LABELS, "le"}
            assert selector.matchers.keys() <= own, selector
            assert (selector.matchers["namespace"], selector.matchers["release"]) == ("$namespace", "$release"), selector
            labels |= own
        else:
            assert any(selector.name in names for names in OTHERS.values()), f"nobody exports {selector.name}"
    if all(selector.family in OWN for selector in asked):
        assert grouping(expr) <= labels
    ranges = set(re.findall(r"\[([^\]]+)\]", expr))
    assert ranges <= {"$__rate_interval", "1h", "6h"}, "a rate over a fixed range shows nothing where scrapes are rarer"
    assert "SCOPE" not in expr


@pytest.mark.parametrize("expr", QUERIES)
def test_only_counters_have_a_rate(expr):
    for name in re.findall(r"(?:rate|increase)\((\w+)", expr):
        assert name.endswith(("_total", "_bucket", "_count", "_sum")), name
