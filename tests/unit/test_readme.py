"""What the README points at is there."""

import re

from services import ROOT

README = (ROOT / "README.md").read_text()


def test_every_path_of_the_where_is_table_exists():
    table = README.split("## Where is…?")[1].split("## ")[0]
    paths = re.findall(r"`((?:services|deploy|tests|protos)/[^`]+)`", table)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_link_to_a_file_leads_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert len(links) > 15
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_make_target_that_it_names_exists():
    targets = set(re.findall(r"`make ([a-z0-9]+)", README))
    makefile = (ROOT / "Makefile").read_text()
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
