"""The rules of the chart, and the runbooks that their alerts lead to."""

from dataclasses import dataclass
from typing import Any

import yaml

from services import ROOT

FOLDER = ROOT / "deploy" / "helm" / "mediagen" / "files" / "rules"
FILES = sorted(FOLDER.glob("*.yaml"))
RUNBOOKS = ROOT / "docs" / "runbooks"
CASES = sorted((ROOT / "tests" / "monitoring" / "rules").glob("*.yaml"))
"""What promtool tests them with."""


@dataclass(frozen=True)
class Alert:
    """One rule that fires."""

    name: str
    rule: dict[str, Any]

    @property
    def id(self) -> str:
        return " ".join([self.name, *self.rule["labels"].values()])


RULES = [rule for file in FILES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
ALERTS = [Alert(rule["alert"], rule) for rule in RULES if "alert" in rule]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
