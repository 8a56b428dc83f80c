"""The failpoints in the services are those of the table in tests/chaos/failpoints.py, each in one place."""

import ast
from collections import Counter
from pathlib import Path

from chaos.failpoints import FAILPOINTS
from services import ROOT


def calls() -> list[tuple[Path, ast.Call]]:
    """Every call of failpoint() and failpoint_within() in the services."""
    found = []
    for path in sorted((ROOT / "services").rglob("*.py")):
        if path.name == "failpoints.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.startswith("failpoint"):
                found.append((path, node))
    return found


def test_the_names_in_the_services_are_those_of_the_table_each_once():
    named = Counter(node.args[0].value for _, node in calls() if isinstance(node.args[0], ast.Constant))
    assert len(calls()) == sum(named.values()), "a name is not a literal"
    assert dict(named) == dict.fromkeys([point.name for point in FAILPOINTS], 1)


def test_each_name_begins_with_its_service():
    for path, node in calls():
        service = path.relative_to(ROOT / "services").parts[0]
        assert node.args[0].value.startswith(f"{service}."), (path, node.args[0].value)


def test_there_are_at_least_28_in_every_part_of_the_way():
    assert len(FAILPOINTS) >= 28
    assert {point.part for point in FAILPOINTS} == {"gateway", "jobs", "generator"}
