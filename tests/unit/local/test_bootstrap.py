"""What works in a cluster sets up Python's packages alone: nothing of it asks for a distribution's packages, or for apt."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import bootstrap
import packages
from progress import StepFailed
from services import ROOT


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A system without apt and without servers, and what was set up on it."""
    done: list[str] = []
    monkeypatch.setattr(packages, "postgresql_programs", list)
    monkeypatch.setattr(packages, "RABBITMQ_SERVER", tmp_path / "none")
    monkeypatch.setattr(packages, "libfaketime", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(bootstrap, "LOCAL", tmp_path)
    monkeypatch.setattr(bootstrap, "LOG", tmp_path / "setup.log")
    monkeypatch.setattr(bootstrap, "install_uv", lambda: done.append("uv"))
    monkeypatch.setattr(bootstrap, "fill_venv", lambda: done.append("packages"))
    return done


def test_python_only_needs_no_servers_and_no_apt(elsewhere: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["bootstrap.py", "--python-only"])
    assert bootstrap.main() == 0
    assert elsewhere == ["uv", "packages"]


def test_everything_says_what_to_install_by_hand(
    elsewhere: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bootstrap.py"])
    assert bootstrap.main() == 1
    assert elsewhere == []
    assert "RabbitMQ" in capsys.readouterr().err
    with pytest.raises(StepFailed):
        packages.install_missing(Path())


@pytest.mark.parametrize("target", ["images", "kind", "helm", "e2e"])
def test_what_works_in_a_cluster_runs_no_other_setup(target: str) -> None:
    planned = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    setups = re.findall(r"bootstrap\.py.*", planned)
    assert setups == ([] if target == "images" else ["bootstrap.py --python-only"])
