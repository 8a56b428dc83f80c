"""The alerts of the chart: promtool takes and tests them, they ask for what there is, and each leads to its runbook."""

import re
import subprocess

import pytest
import yaml

from jobs.census import REASONS
from jobs.metrics import CODES
from monitoring.metrics import OTHERS, OWN, TARGET_LABELS, grouping, selectors
from monitoring.rule_files import ALERTS, CASES, FILES, RECORDED, RULES, RUNBOOKS
from services import ROOT

NAMES = {alert.name for alert in ALERTS}


def promtool(*arguments: object) -> str:
    """What promtool, of Debian's package prometheus, says; it has to be content."""
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_every_file():
    assert promtool("check", "rules", *FILES).count("SUCCESS") == len(FILES) == 5


@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(cases):
    promtool("test", "rules", cases)


def test_every_alert_is_seen_to_fire_and_to_be_quiet():
    fires: set[tuple[str, str]] = set()
    quiet: set[str] = set()
    for path in CASES:
        for case in yaml.safe_load(path.read_text())["tests"]:
            (about,) = re.findall(r"^Mediagen\w+", case["name"])
            seen = [sample["labels"] for check in case["promql_expr_test"] for sample in check["exp_samples"]]
            for labels in seen:
                name, severity = re.findall(r'(?:alertname|severity)="(\w+)"', labels)
                assert name == about, case["name"]
                fires.add((name, severity))
            if any(check["exp_samples"] == [] for check in case["promql_expr_test"]):
                quiet.add(about)
    assert fires == {(alert.name, alert.rule["labels"]["severity"]) for alert in ALERTS}
    assert quiet == NAMES


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.id)
def test_an_alert_says_how_bad_it_is_what_happened_and_what_to_do(alert):
    assert alert.name.startswith("Mediagen")
    assert alert.rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert re.fullmatch(r"\d+[mh]", alert.rule["for"])
    annotations = alert.rule["annotations"]
    assert annotations.keys() == {"summary", "description", "runbook_url"}
    assert annotations["runbook_url"] == f"docs/runbooks/{alert.name}.md"
    assert annotations["summary"].endswith(".") and annotations["description"].strip().endswith(".")
    labels = set(re.findall(r"\$labels\.(\w+)", annotations["description"]))
    assert "namespace" in labels
    if groups := grouping(alert.rule["expr"]) - {"le"}:
        assert labels <= {*groups, "name"}, "what the expression does not group by is empty in the text"


def test_every_alert_has_its_runbook_and_every_runbook_its_alert():
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_runbook_says_what_it_means_what_is_noticed_how_to_look_and_what_to_do(name):
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["What it means", "What users notice", "How to look", "What to do"]
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert (RUNBOOKS / link).exists(), link
    for metric in re.findall(r"\b(mediagen_\w+)", text):
        assert metric in OWN or re.sub(r"_(bucket|sum|count)$", "", metric) in OWN, metric


def test_the_list_of_runbooks_is_complete():
    listed = re.findall(r"\[(Mediagen\w+)\]\(\1\.md\)", (RUNBOOKS / "README.md").read_text())
    assert sorted(listed) == sorted(NAMES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_for_what_is_exported(rule):
    asked = selectors(rule["expr"])
    assert asked
    for selector in asked:
        if selector.family in OWN:
            assert selector.matchers.keys() <= {*OWN[selector.family][1], *TARGET_LABELS, "le"}, selector
        elif selector.name not in RECORDED:
            assert any(selector.name in names for names in OTHERS.values()), f"nobody exports {selector.name}"


def _words(pattern: str) -> set[str]:
    """The words of an alternation such as `a|model_(b|c)`."""
    pattern = re.sub(r"(\w+)\(([^)]*)\)", lambda found: "|".join(found[1] + end for end in found[2].split("|")), pattern)
    return set(pattern.split("|"))


def test_error_codes_and_reasons_are_real_ones():
    codes = {code for rule in RULES for one in selectors(rule["expr"]) for code in _words(one.matchers.get("error_code", "other"))}
    assert codes > {"other", "output_expired", "model_oom"}
    assert codes <= {*CODES, "other"}
    reasons = {
        reason for rule in RULES for one in selectors(rule["expr"]) for reason in _words(one.matchers.get("reason", "other"))
    }
    assert reasons == {*REASONS} - {"rate_limit"}, "the rate limit alone is no alert of its own: it pauses for seconds"


def test_the_routes_and_the_bucket_of_the_latency_objective_exist():
    api = (ROOT / "services" / "gateway" / "job_routes.py").read_text()
    assert '"/api/v1/jobs"' in api and '"/api/v1/generate"' in api
    from prometheus_client import REGISTRY

    import gateway.middleware  # noqa: F401  its registration is wanted

    (histogram,) = [
        one for one in REGISTRY._collector_to_names if "mediagen_http_request_seconds" in str(getattr(one, "_name", ""))
    ]
    assert 0.25 in histogram._upper_bounds


def test_a_metric_of_others_is_asked_for_somewhere():
    from monitoring.test_dashboards import QUERIES

    asked = {one.name for rule in RULES for one in selectors(rule["expr"])}
    asked |= {one.name for query in QUERIES for one in selectors(query.values[0])}
    assert {name for names in OTHERS.values() for name in names} <= asked
