"""The version before this one, from the history of the repository: the newest with another schema.

What has changed in the contracts since then is tried with it.
"""

import subprocess
from pathlib import Path

from services import ROOT

SCHEMA = "services/jobs/migrations"


class NoHistory(AssertionError):
    """This is no checkout, or a shallow one."""

    def __init__(self, reason: str) -> None:
        """Says what to do."""
        super().__init__(f"no version before this one is at hand: {reason}; run this in a git checkout with its whole history")


def previous_revision(checkout: Path = ROOT) -> str:
    """HEAD where a migration is not committed yet; else the parent of the main line's newest commit with one; else HEAD's own.

    Raises NoHistory.
    """
    if _git(checkout, "status", "--porcelain", "--", SCHEMA):
        return _git(checkout, "rev-parse", "HEAD")
    newest = _git(checkout, "rev-list", "--first-parent", "--max-count=1", "HEAD", "--", SCHEMA)
    try:
        return _git(checkout, "rev-parse", "--verify", f"{newest}^1")
    except NoHistory:
        if _git(checkout, "rev-parse", "--is-shallow-repository") == "true":  # its oldest commit looks as if it had made everything
            raise NoHistory("the clone is shallow") from None
        return _git(checkout, "rev-parse", "--verify", "HEAD~1")


def extract(revision: str, tree: Path, checkout: Path = ROOT) -> None:
    """Puts that version's services and protos into the folder. Raises NoHistory."""
    tree.mkdir(parents=True)
    archive = tree.with_suffix(".tar")
    _git(checkout, "archive", f"--output={archive}", revision, "services", "protos")
    subprocess.run(["tar", "-xf", archive, "-C", tree], check=True)
    archive.unlink()


def _git(checkout: Path, *arguments: str) -> str:
    # The checkout may be another user's, as in a container.
    command = ["git", "-c", "safe.directory=*", "-C", str(checkout), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NoHistory("git is not installed") from None
    if done.returncode != 0:
        raise NoHistory((done.stderr.strip().splitlines() or ["git failed"])[-1].removeprefix("fatal: "))
    return done.stdout.strip()
