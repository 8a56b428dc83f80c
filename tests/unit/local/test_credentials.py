"""Secrets of an instance: made once, readable by their owner alone."""

from pathlib import Path

from credentials import GENERATED, Credentials, write_private


def test_secrets_are_made_once_and_kept(tmp_path: Path) -> None:
    first = Credentials(tmp_path / "credentials.json")
    first.api_key = "mg_key"
    second = Credentials(tmp_path / "credentials.json")
    assert [second[name] for name in GENERATED] == [first[name] for name in GENERATED]
    assert len({second[name] for name in GENERATED}) == len(GENERATED)
    assert second.api_key == "mg_key"


def test_nobody_but_the_owner_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, "new")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("new", 0o600)
