"""Labels of what is counted of jobs: few, and known."""

import re

from jobs import metrics, reports
from services import ROOT


def test_models_beyond_the_first_share_a_label(monkeypatch):
    monkeypatch.setattr(metrics, "_models", set())
    assert metrics.model_label("a/b:" + "0" * 64) == metrics.model_label("a/b") == "a/b"
    assert metrics.model_label("0" * 64) == "other"
    labels = {metrics.model_label(f"owner/model-{number}") for number in range(100)}
    assert len(labels) == metrics.MOST_MODELS  # `other` in the place of a/b
    assert metrics.model_label("a/b") == "a/b"


def test_every_error_code_that_a_job_can_fail_with_has_a_series_of_its_own():
    generator = "\n".join(path.read_text() for path in sorted((ROOT / "services" / "generator").glob("*.py")))
    statement = (ROOT / "services" / "jobs" / "sql" / "transition.sql").read_text()
    decided = statement.split("END AS failure_code")[0].rsplit("END AS target", 1)[1]
    codes = set(re.findall(r"'(\w+)'(?=\s|\))", " ".join(re.findall(r"(?:THEN|code,) ('\w+'\)?)\s", decided))))
    codes |= set(re.findall(r'(?:UnusableOutput|SourceFailed)\(\s*"(\w+)"', generator))
    codes |= set(re.findall(r'FAILURE_KIND_\w+, "(\w+)"', generator))
    codes |= set(re.findall(r'\(REFUSAL_KIND_\w+, "(\w+)"\)', generator))
    codes |= set(re.findall(r'"(\w+)",\s+FAILURE_KIND_', generator))
    codes |= {"model_error", "model_forbidden"}
    assert len(codes) > 20
    assert codes - {"canceled"} <= metrics.CODES


def test_every_series_of_an_error_code_is_one_that_somebody_fails_with():
    sources = [*(ROOT / "services" / "generator").glob("*.py"), ROOT / "services" / "jobs" / "sql" / "transition.sql"]
    written = set(re.findall(r"""["'](\w+)["']""", "\n".join(path.read_text() for path in sources)))
    assert written >= metrics.CODES


def test_every_verb_that_generators_report_with_has_its_series_of_stale_reports():
    written = (ROOT / "services" / "jobs" / "reports.py").read_text()
    verbs = set(re.findall(r'_report\(\s*one,\s*worker,\s*"(\w+)"', written))
    for kinds in (reports.REFUSALS, reports.FAILURES, reports.LOOKUPS):
        verbs |= set(kinds.values())
    assert verbs == set(metrics.REPORTS)
    stale = {(sample.labels["verb"], sample.labels["result"]) for family in metrics._reports.collect() for sample in family.samples}
    assert {(verb, "stale") for verb in verbs} <= stale
