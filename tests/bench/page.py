"""python -m bench.page REPORT.json: writes a report into the figures of docs/performance.md, as tables."""

import json
import re
import statistics
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

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
        latency = {name: _median(sample["latency"].get(name) for sample in one["samples"]) for name in ("p50", "p99")}
        percentiles = f"{latency['p50']:.3g} / {latency['p99']:.3g}" if latency["p50"] else ""
        cpu = f"{one['cpu_per_1000']:.2g}" if one["cpu_per_1000"] else ""
        value = f"{one['median']:,.3g}" if one["median"] < 1000 else f"{one['median']:,.0f}"
        foreign = _median(sample["foreign"] for sample in one["samples"])
        what = f"{one['row']} | {one['what']} | {one['subject']}"
        yield f"| {what} | {value} {one['unit']} | {one['spread']:.0%} | {percentiles} | {cpu} | {foreign:.0%} |"


def _median(values: Iterable[float | None]) -> float:
    found = [value for value in values if value is not None]
    return statistics.median(found) if found else 0.0


if __name__ == "__main__":
    sys.exit(main())
