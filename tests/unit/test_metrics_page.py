"""docs/metrics.md is what the code exports, and what is exported keeps to the conventions."""

import re
import subprocess
import sys

from services import ROOT

PAGE = (ROOT / "docs" / "metrics.md").read_text()
ROWS = [re.match(r"\| `(\w+)` \| (\w+) \| (.*?) \| (.*?) \| (.*) \|", line) for line in PAGE.splitlines() if line.startswith("| `")]
METRICS = [row.groups() for row in ROWS if row]
OWN = [metric for metric in METRICS if metric[0].startswith(("mediagen_", "grpc_"))]

UNBOUNDED = {"path", "url", "job_id", "request_id", "trace_id", "tenant", "tenant_id", "worker", "prediction_id", "error", "prompt"}


def test_the_page_is_what_the_code_exports():
    checked = subprocess.run(
        [sys.executable, ROOT / "docs" / "metrics_page.py", "--check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_names_and_labels_keep_to_the_conventions():
    assert len(OWN) > 60
    for name, kind, labels, _, meaning in OWN:
        assert (kind == "counter") == name.endswith("_total"), name
        assert not name.endswith(("_ms", "_millis", "_minutes", "_mb", "_count", "_sum", "_bucket")), name
        assert meaning.endswith("."), name
        assert not UNBOUNDED & set(re.findall(r"`(\w+)`", labels)), name


def test_every_metric_that_the_page_asks_for_is_one_of_it():
    names = {name for name, *_ in METRICS}
    asked = set(re.findall(r"\b((?:mediagen|grpc)_\w+)(?=[{\[)])", PAGE.split("<!--")[0]))
    assert len(asked) > 6
    assert asked <= names
