"""What a URI of PostgreSQL may ask for after its `?`, in libpq's words: hosted databases hand such URIs out."""

import os
import re
import ssl
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SESSIONS = ("any", "primary", "standby", "prefer-standby", "read-write", "read-only")

FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
READ_BY_ASYNCPG = {
    *FILES,
    *("host", "port", "user", "password", "dbname", "database"),
    *("sslmode", "sslpassword", "sslnegotiation", "ssl_min_protocol_version", "ssl_max_protocol_version"),
    *("target_session_attrs", "krbsrvname", "gsslib"),
    "options",  # the server reads them
}
OURS = {
    *("connect_timeout", "application_name", "fallback_application_name", "tcp_user_timeout"),
    *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
}
"""The service decides these by itself, so what the URI says of them is passed over."""

MET = {("channel_binding", "prefer"), ("channel_binding", "disable"), ("gssencmode", "prefer"), ("gssencmode", "disable")}
"""Wishes that are fulfilled by doing nothing."""


def connect_arguments(url: str) -> dict[str, Any]:
    """The arguments by which asyncpg.connect does what the URI says.

    Raises ValueError with what cannot be done, which quotes no more of the URI than a parameter's name.
    """
    parts = urlsplit(url)
    asked = _parameters(parts.query)
    if "ssl" in asked:  # as asyncpg's own argument is called
        asked.setdefault("sslmode", asked.pop("ssl"))
    for name, value in list(asked.items()):
        if name in OURS or (name, value) in MET:
            del asked[name]
        elif name not in READ_BY_ASYNCPG:
            raise ValueError(f"asks for {name}, which is not supported so: take it out of the URI")
    _check("sslmode", asked, SSL_MODES)
    _check("target_session_attrs", asked, SESSIONS)
    arguments: dict[str, Any] = {}
    if asked.get("sslrootcert") == "system":
        if asked.get("sslmode", "verify-full") != "verify-full":
            raise ValueError("has sslrootcert=system, for which sslmode must be verify-full")
        del asked["sslrootcert"]
        arguments["ssl"] = ssl.create_default_context()
    for name in FILES:
        if name in asked and not os.access(asked[name], os.R_OK):
            raise ValueError(f"names a file as {name} that is not there, or cannot be read")
    if "," in parts.netloc and "target_session_attrs" not in asked and "PGTARGETSESSIONATTRS" not in os.environ:
        asked["target_session_attrs"] = "read-write"  # of several hosts, the one that can do the work
    return {"dsn": urlunsplit(parts._replace(query=urlencode(asked))), **arguments}


def _parameters(query: str) -> dict[str, str]:
    try:
        asked = {name: values[-1] for name, values in parse_qs(query, strict_parsing=True).items()} if query else {}
    except ValueError:
        asked = {"": ""}
    if not all(re.fullmatch("[a-z_]+", name) for name in asked):  # such as the end of a password that holds a question mark
        raise ValueError("has something after its ? that is not name=value with & between")
    return asked


def _check(name: str, asked: dict[str, str], known: tuple[str, ...]) -> None:
    if name in asked and asked[name] not in known:
        raise ValueError(f"must have one of {', '.join(known)} as {name}")
