"""What a dashboard is made of, and the JSON that Grafana takes for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SCOPE = 'namespace=~"$namespace",release=~"$release"'
"""What SCOPE in an expression stands for: the labels that the chart's monitors give. It has to be in every selector of ours."""

TAG = "mediagen"
WIDTH = 24
"""Grafana's columns."""
HEIGHT = 8
SCHEMA_VERSION = 39
"""Of the JSON, as Grafana 11 writes it; newer ones take it."""


@dataclass(frozen=True)
class Query:
    """One expression of a panel."""

    expr: str
    """PromQL, with SCOPE."""
    legend: str = ""
    """What its series are called, such as `{{route}}`."""


@dataclass(frozen=True)
class Panel:
    """One picture of a dashboard."""

    title: str
    description: str
    """What is seen, and what good looks like."""
    unit: str
    """Grafana's word for it: s, reqps, ops, percentunit, bytes, Bps, short, none, dtdurations."""
    queries: Sequence[Query]
    kind: str = "timeseries"
    """timeseries; or stat, which shows the last value, too, as a number."""
    stacked: bool = False
    limits: tuple[float, float] | None = None
    """From which value on it is yellow, and red; falling where less is worse."""


@dataclass(frozen=True)
class Row:
    """Panels beside each other, under a title."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Dashboard:
    """One page."""

    name: str
    """The end of its uid, which links and bookmarks hold, and of its file."""
    title: str
    description: str
    rows: Sequence[Row] = field(default_factory=tuple)


def render(dashboard: Dashboard) -> dict[str, Any]:
    """The JSON of a dashboard."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row in dashboard.rows:
        panels.append(_row(len(panels) + 1, row.title, y))
        y += 1
        width = WIDTH // len(row.panels)
        for place, panel in enumerate(row.panels):
            position = {"x": place * width, "y": y, "w": width, "h": HEIGHT}
            panels.append(_panel(len(panels) + 1, panel, position))
        y += HEIGHT
    return {
        "uid": f"{TAG}-{dashboard.name}",
        "title": f"mediagen / {dashboard.title}",
        "description": dashboard.description,
        "tags": [TAG],
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "links": [
            {
                "type": "dashboards",
                "title": TAG,
                "tags": [TAG],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
                "icon": "dashboard",
            }
        ],
        "templating": {"list": [_datasource(), _variable("namespace", ""), _variable("release", 'namespace=~"$namespace"')]},
        "annotations": {"list": []},
        "panels": panels,
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}


def _variable(label: str, scope: str) -> dict[str, Any]:
    """A label's values, one at a time: what the database knows is the same on every instance of one release, and no sum of several.

    Where nothing has the label, as what scrapes knows nothing of the chart's monitors, the empty value means just that.
    """
    query = f"label_values(mediagen_build_info{{{scope}}}, {label})"
    return {
        "name": label,
        "label": label.capitalize(),
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "$datasource"},
        "query": {"query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "includeAll": False,
        "multi": False,
    }


def _row(number: int, title: str, y: int) -> dict[str, Any]:
    position = {"x": 0, "y": y, "w": WIDTH, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": position, "panels": []}


def _panel(number: int, panel: Panel, position: dict[str, int]) -> dict[str, Any]:
    stat = panel.kind == "stat"
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0, "thresholds": _thresholds(panel.limits)}
    if stat:
        defaults["color"] = {"mode": "thresholds"}
        options: dict[str, Any] = {"graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"]}}
    else:
        stacking = {"mode": "normal" if panel.stacked else "none"}
        marks = {"mode": "line" if panel.limits else "off"}
        fill = 30 if panel.stacked else 10
        defaults["custom"] = {"fillOpacity": fill, "showPoints": "never", "stacking": stacking, "thresholdsStyle": marks}
        options = {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": {"type": "prometheus", "uid": "$datasource"},
        "gridPos": position,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": {"type": "prometheus", "uid": "$datasource"},
                "expr": query.expr.replace("SCOPE", SCOPE),
                "legendFormat": query.legend or panel.title,
            }
            for place, query in enumerate(panel.queries)
        ],
    }


def _thresholds(limits: tuple[float, float] | None) -> dict[str, Any]:
    if limits is None:
        return {"mode": "absolute", "steps": [{"color": "green", "value": None}]}
    first, second = limits
    rising = first <= second
    steps = (
        [("green", None), ("yellow", first), ("red", second)] if rising else [("red", None), ("yellow", second), ("green", first)]
    )
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for color, value in steps]}


def quantiles(metric: str, by: str = "", matchers: str = "") -> list[Query]:
    """p50, p95 and p99 of a histogram, over all instances, by one label or none."""
    labels = f"le, {by}" if by else "le"
    scope = f"SCOPE,{matchers}" if matchers else "SCOPE"
    name = f" {{{{{by}}}}}" if by else ""
    return [
        Query(
            f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket{{{scope}}}[$__rate_interval])))",
            f"p{q[2:]:0<2}{name}",
        )
        for q in ("0.5", "0.95", "0.99")
    ]
