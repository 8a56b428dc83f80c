"""What a URI of PostgreSQL asks for after its question mark reaches asyncpg, is passed over, or is refused; never half of it."""

import ssl
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from jobs.database_url import connect_arguments

URL = "postgresql://me:p%40ss@db.example:5432/mediagen"


def asked(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(connect_arguments(url)["dsn"]).query)


def test_a_uri_without_parameters_stays_as_it_is() -> None:
    assert connect_arguments(URL) == {"dsn": URL}


def test_what_asyncpg_reads_is_left_to_it(tmp_path: Path) -> None:
    root = tmp_path / "root.crt"
    root.touch()
    for query in (f"sslmode=verify-full&sslrootcert={root}", "options=-c%20search_path%3Dmine", "target_session_attrs=primary"):
        assert asked(f"{URL}?{query}") == parse_qs(query)
    assert asked(f"{URL}?ssl=require") == {"sslmode": ["require"]}


def test_what_the_service_decides_by_itself_or_does_anyway_is_passed_over() -> None:
    assert asked(f"{URL}?sslmode=require&connect_timeout=10&keepalives=1&channel_binding=prefer") == {"sslmode": ["require"]}


def test_the_systems_certificates_are_those_of_openssl_and_check_the_hosts_name() -> None:
    arguments = connect_arguments(f"{URL}?sslmode=verify-full&sslrootcert=system")
    assert arguments["ssl"].verify_mode is ssl.CERT_REQUIRED and arguments["ssl"].check_hostname
    assert "system" not in arguments["dsn"]


def test_of_several_hosts_the_one_that_writes_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    several = "postgresql://me:p@a:5432,b:5433/mediagen"
    assert asked(several) == {"target_session_attrs": ["read-write"]}
    assert asked(f"{several}?target_session_attrs=any") == {"target_session_attrs": ["any"]}
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "any")
    assert asked(several) == {}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("channel_binding=require", "asks for channel_binding"),
        ("hostaddr=10.0.0.1", "asks for hostaddr"),
        ("sslmode=strict", "verify-full as sslmode"),
        ("target_session_attrs=leader", "read-write"),
        ("sslmode=require&sslrootcert=system", "must be verify-full"),
        ("sslmode=verify-ca&sslrootcert=/not/there", "sslrootcert that is not there"),
        ("sslmode", "not name=value"),
        ("s3cret@host/mediagen=1", "not name=value"),
    ],
)
def test_what_cannot_be_done_is_refused_and_none_of_it_quoted(query: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        connect_arguments(f"{URL}?{query}")
    assert "s3cret" not in str(refused.value)
