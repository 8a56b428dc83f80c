"""What a run of the soak is told."""

from pathlib import Path

import pytest

from chaos.soak.settings import Settings


def test_what_is_not_set_has_a_value():
    assert Settings.read({"MINUTES": "", "OTHER": "x"}) == Settings()


def test_each_setting_is_read(tmp_path):
    given = {"MINUTES": "0.5", "JOBS_PER_SECOND": "3", "SEED": "7", "SCALE": "0.1", "GENERATORS": "2", "WEBHOOKS": "0"}
    paths = {"REPORT": "report.md", "KEEP": str(tmp_path / "a" / "b")}
    assert Settings.read({**given, **paths}) == Settings(
        0.5, 3, 7, 0.1, 2, webhooks=False, report=Path("report.md").absolute(), keep=tmp_path / "a" / "b"
    )


@pytest.mark.parametrize(
    ("name", "value", "meaning"),
    [
        ("MINUTES", "an hour", "a number above 0"),
        ("MINUTES", "inf", "a number above 0"),
        ("SCALE", "0", "a number above 0"),
        ("SEED", "1.5", "a whole number"),
        ("GENERATORS", "0", "a whole number above 0"),
        ("WEBHOOKS", "yes", "0 or 1"),
        ("REPORT", "/nowhere/report.md", "a file that can be written"),
        ("REPORT", "/", "a file that can be written"),
        ("KEEP", "/dev/null/evidence", "a folder that can be made"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(name, value, meaning):
    with pytest.raises(ValueError, match=f"^{name}={value} is not {meaning}$"):
        Settings.read({name: value})
