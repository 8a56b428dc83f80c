"""python -m bench.page REPORT.json: writes a report into the figures of docs/performance.md, as tables."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.records import Line, Sample
from services import ROOT

PAGE = ROOT / "docs" / "performance.md"
_FIGURES = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- /figures -->)", re.DOTALL)

Report = dict[str, Any]


def main() -> int:
    """Rewrites the page."""
    report: Report = json.loads(Path(sys.argv[1]).read_text())
    PAGE.write_text(_FIGURES.sub(lambda _: figures(report), PAGE.read_text(), count=1))
    print(f"the figures are in {PAGE}")
    return 0


def figures(report: Report) -> str:
    """The whole section: the machine, the targets, then every line."""
    machine, settings = report["machine"], report["settings"]
    told = (
        f"Measured {report['at'][:10]} on {machine['cores']} cores ({machine['processor']}), {machine['memory_gib']} GiB, "
        f"Python {machine['python']}, PostgreSQL {machine['postgresql'].split()[0]} (fsync {machine['fsync']}, synchronous_commit "
        f"{machine['synchronous_commit']}), RabbitMQ {machine['rabbitmq']}; "
        f"{settings['rounds']} rounds of {settings['seconds']:g} s."
    )
    lines = [told, "", *_targets(report["targets"]), "", *_lines(report["lines"]), ""]
    return "\n".join(lines) + "\n"


def _targets(targets: list[Report]) -> Iterator[str]:
    yield "| Row | Target | Measured | Must | Better | |"
    yield "| --- | --- | ---: | ---: | ---: | --- |"
    for one in targets:
        sense = "≤" if one["at_most"] else "≥"
        value = "" if one["value"] is None else f"{one['value']:.3g}"
        limits = f"{sense} {one['must']:.3g} | {sense} {one['stretch']:.3g}"
        yield f"| {one['row']} | {one['what']} | {value} | {limits} | {one['verdict']} |"


def _lines(lines: list[Report]) -> Iterator[str]:
    yield "| Row | What | Who | Median | ± | p50 / p99 ms | CPU s for 1,000 | Foreign |"
    yield "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |"
    for one in lines:
        samples = [Sample(**sample) for sample in one["samples"]]
        line = Line(one["row"], one["what"], one["subject"], one["unit"], samples)
        percentiles = f"{line.median('p50'):.3g} / {line.median('p99'):.3g}" if line.median("p50") else ""
        cpu = f"{line.median('cpu'):.2g}" if line.median("cpu") else ""
        value = f"{line.median():,.3g}" if line.median() < 1000 else f"{line.median():,.0f}"
        what = f"{line.row} | {line.what} | {line.subject}"
        yield f"| {what} | {value} {line.unit} | {line.spread():.0%} | {percentiles} | {cpu} | {line.median('foreign'):.0%} |"


if __name__ == "__main__":
    sys.exit(main())
