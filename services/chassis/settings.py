"""Settings: read once at the start, from the environment, into one frozen class per service."""

import sys
from typing import Annotated, NamedTuple, TypeVar

from pydantic import BeforeValidator, ValidationError
from pydantic_settings import BaseSettings, NoDecode

Model = TypeVar("Model", bound=BaseSettings)


class HostPort(NamedTuple):
    """Where a server listens, or whom a client calls."""

    host: str
    port: int

    def __str__(self) -> str:
        """The form that it was read from."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_host_port(value: object) -> object:
    """Turns `host:port` (or `[::]:port`) into a HostPort; raises ValueError with what to write instead."""
    if not isinstance(value, str):
        return value
    host, separator, port = value.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"must be host:port, such as 127.0.0.1:8080, not {value!r}")
    return HostPort(host.strip("[]"), int(port))


Listen = Annotated[HostPort, NoDecode, BeforeValidator(parse_host_port)]
"""The type of a `*_LISTEN` setting. NoDecode: a tuple would be read from the environment as JSON."""


def load_settings(settings: type[Model]) -> Model:
    """Builds a service's settings from the environment; where one is wrong or missing, says so in one line and exits with 2.

    The message names the variable and what is wrong with it, never the value: it may be a secret.
    """
    try:
        return settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        prefix = str(settings.model_config.get("env_prefix", ""))
        variable = (prefix + "_".join(str(part) for part in first["loc"])).upper() or prefix + "*"
        reason = "is not set" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
        print(f"{variable}: {reason}", file=sys.stderr)  # noqa: T201  the log is not configured yet
        raise SystemExit(2) from None
