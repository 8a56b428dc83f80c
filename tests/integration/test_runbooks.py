"""What the runbooks tell an operator to type into psql runs on the schema as it is."""

import re

import pytest

from monitoring.rule_files import RUNBOOKS
from postgresql import PostgreSQL

STATEMENTS = sorted(
    {
        (path.stem, " ".join(statement.split()))
        for path in RUNBOOKS.glob("*.md")
        for statement in re.findall(r"`((?:SELECT|VACUUM)\b[^`]*)`", path.read_text())
    }
)


@pytest.mark.parametrize(("runbook", "statement"), STATEMENTS)
def test_a_statement_of_a_runbook_runs(postgresql: PostgreSQL, postgres_url: str, runbook: str, statement: str) -> None:
    postgresql.execute(statement, database=postgres_url.rpartition("/")[2])
