"""Which version an upgrade is tried from."""

import os
import subprocess
from pathlib import Path

import pytest

from upgrade.previous import NoHistory, extract, previous_revision

SCHEMA = "services/jobs/migrations/0001.sql"


class Checkout:
    """A git repository of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=tests", "-c", "user.email=tests@example.com", "-c", "commit.gpgsign=false")
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", *who, *arguments], cwd=self.folder, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self, path: str, text: str) -> str:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", f"{path}: {text}")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path / "checkout")
    made.commit(SCHEMA, "one")
    made.commit("protos/jobs.proto", "one")
    return made


def test_it_is_the_one_before_the_newest_migration_on_the_main_line(checkout: Checkout):
    before = checkout.commit("services/gateway/api.py", "one")
    checkout.git("switch", "--quiet", "--create", "branch")
    checkout.commit(SCHEMA, "two")
    checkout.commit(SCHEMA, "three")
    checkout.git("switch", "--quiet", "main")
    checkout.git("merge", "--quiet", "--no-ff", "--message", "merge", "branch")
    checkout.commit("README.md", "one")
    assert previous_revision(checkout.folder) == before


def test_it_is_the_last_commit_where_the_migration_is_not_committed_yet(checkout: Checkout):
    head = checkout.commit("README.md", "one")
    (checkout.folder / SCHEMA).with_name("0002.sql").write_text("new")
    assert previous_revision(checkout.folder) == head


def test_its_files_are_those_of_then(checkout: Checkout, tmp_path: Path):
    before = checkout.git("rev-parse", "HEAD")
    checkout.commit(SCHEMA, "two")
    extract(before, tmp_path / "previous", checkout.folder)
    assert (tmp_path / "previous" / SCHEMA).read_text() == "one"


def test_where_there_is_no_history_it_says_so_and_what_to_do(checkout: Checkout, tmp_path: Path):
    checkout.git("clone", "--quiet", "--depth=1", f"file://{checkout.folder}", str(tmp_path / "shallow"))
    with pytest.raises(NoHistory, match="the clone is shallow; run this in a git checkout with its whole history"):
        previous_revision(tmp_path / "shallow")
    (tmp_path / "archive").mkdir()
    with pytest.raises(NoHistory, match=r"not a git repository.*; run this in a git checkout with its whole history"):
        previous_revision(tmp_path / "archive")
