"""The rules of the chart as a test can live through them: the same, but for their times.

Windows and `for` are those of the tables below. A threshold stays as it is, unless it is a duration itself: those of THRESHOLDS do.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from monitoring.rule_files import Alert

WINDOWS = {"5m": "10s", "10m": "12s", "15m": "20s", "30m": "25s", "1h": "30s", "6h": "40s", "3d": "45s"}
"""What each range of a rule becomes. Their order stays: of two windows in one rule, the longer one is the longer one. The shortest
has several scrapes in it, the longest are over soon after their cause."""

HOLDS = "2s"
"""What `for` becomes, where it is not 0."""


class Threshold(NamedTuple):
    """What a rule compares with, and with what it compares in a test."""

    written: str
    scaled: str


THRESHOLDS = {
    "MediagenBacklogAgeHigh warning": Threshold("> 60", "> 3"),
    "MediagenJobsStuck critical": Threshold("> 2700", "> 6"),
    "MediagenJobsStuck warning": Threshold("> 1800", "> 4"),
    "MediagenOutcomeUnknown warning": Threshold("> 300", "> 4"),
    "MediagenRelayLag warning": Threshold("> 60", "> 3"),
}
"""Ages of jobs, in seconds, by the alert's id. The test's own system has times of a tenth."""


class Unscaled(AssertionError):
    """A table of this module does not fit the rules."""


def scaled_rules(text: str) -> dict[str, Any]:
    """A file of rules with the times of a test. Raises Unscaled where a range is in no table."""
    rules: dict[str, Any] = yaml.safe_load(text)
    for group in rules["groups"]:
        group.pop("interval", None)
        for rule in group["rules"]:
            _scale(rule)
    return rules


def write_scaled(files: list[Path], folder: Path) -> list[Path]:
    """Writes the files of rules, scaled, into a folder; returns them there."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for file in files:
        written.append(folder / file.name)
        written[-1].write_text(yaml.safe_dump(scaled_rules(file.read_text()), sort_keys=False))
    return written


def windows_of(expr: str) -> list[str]:
    """Every range and offset in an expression."""
    return re.findall(r"(?:\[|\boffset\s+)(\w+)", expr)


def _scale(rule: dict[str, Any]) -> None:
    def window(found: re.Match[str]) -> str:
        if found[2] not in WINDOWS:
            raise Unscaled(f"{found[2]} of {rule.get('alert') or rule['record']} is not in WINDOWS")
        return found[1] + WINDOWS[found[2]]

    rule["expr"] = re.sub(r"(\[|\boffset\s+)(\w+)", window, rule["expr"])
    if "alert" not in rule:
        return
    if not rule["for"].startswith("0"):
        rule["for"] = HOLDS
    if threshold := THRESHOLDS.get(Alert(rule["alert"], rule).id):
        pieces = re.split(rf"{re.escape(threshold.written)}\b", rule["expr"])
        if len(pieces) != 2:
            raise Unscaled(f"{rule['alert']} has {threshold.written!r} {len(pieces) - 1} times")
        rule["expr"] = threshold.scaled.join(pieces)
