"""Secrets and prompts are found wherever they were written, and are not repeated by whoever found them."""

import json

import pytest

from history.leaks import find

KNOWN = {'a fox in a "red" coat\nat night': "the prompt of a job", "s3cr3t-of-s3": "the S3 secret"}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"event": "job.claimed", "prompt": "a fox in a \\"red\\" coat\\nat night"}', "the prompt of a job"),
        ('DETAIL:  Failing row contains (a fox in a "red" coat', "part of a text of several lines"),
        ("connect to s3 with s3cr3t-of-s3 failed", "the S3 secret"),
    ],
    ids=["as JSON", "a line of it", "a secret"],
)
def test_a_line_with_it_is_found(tmp_path, line, what):
    log = tmp_path / "jobs.log"
    log.write_text(f"{{}}\n{line}\n{{}}\n")
    read, leaks = find(KNOWN, [log], [])
    assert read == log.stat().st_size
    assert [leak["what"] for leak in leaks] == [what]
    assert not any(secret in leak["line"] for leak in leaks for secret in KNOWN)


def test_a_message_with_it_is_found():
    _, leaks = find(KNOWN, [], [("the dead letters", json.dumps(KNOWN).encode()), ("others", b"\xff\xfe")])
    assert [leak["where"] for leak in leaks] == ["the dead letters"]


def test_a_log_without_it_is_clean(tmp_path):
    log = tmp_path / "jobs.log"
    log.write_text('{"event": "job.claimed", "note": "a fox in a blue coat"}\n')
    assert find(KNOWN, [log], [])[1] == []
