"""Settings: read once at the start, from the environment, into one frozen class per service."""

import sys
from typing import Annotated, Literal, NamedTuple, TypeVar
from urllib.parse import quote

from pydantic import BeforeValidator, Field, HttpUrl, SecretStr, ValidationError, ValidationInfo, field_validator
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


def with_password(url: object, password: SecretStr | None) -> object:
    """Puts a password that is a setting of its own into a URL that names the user; raises ValueError where it names none.

    As a part of the URL it would have to be percent-encoded, which whatever generates secrets does not do.
    """
    if not isinstance(url, str) or password is None or not password.get_secret_value():
        return url
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    user, at, hosts = authority.rpartition("@")
    if not at:
        raise ValueError("must name the user, as scheme://user@host, where the password is a setting of its own")
    return f"{scheme}://{user.partition(':')[0]}:{quote(password.get_secret_value(), safe='')}@{hosts}{slash}{path}"


class AmqpSettings(BaseSettings):
    """For services with an `amqp_url`: what that is for is theirs to say."""

    amqp_password: SecretStr | None = None
    """The password of amqp_url, just as it is; without it, the one in the URL holds."""

    @field_validator("amqp_url", mode="before", check_fields=False)
    @classmethod
    def _amqp_password(cls, url: object, info: ValidationInfo) -> object:
        return with_password(url, info.data.get("amqp_password"))


class TracingSettings(BaseSettings):
    """Where traces go, in the variables that OpenTelemetry defines for every program: without a service's prefix.

    The SDK reads the rest of them by itself (OTEL_EXPORTER_OTLP_HEADERS, …_CERTIFICATE, OTEL_RESOURCE_ATTRIBUTES, OTEL_BSP_…).
    """

    otel_exporter_otlp_endpoint: HttpUrl | None = Field(None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """http(s)://host[:port][/path] of a collector, which takes spans at /v1/traces below it. Without it no span is made."""

    otel_exporter_otlp_protocol: Literal["http/protobuf"] = Field("http/protobuf", validation_alias="OTEL_EXPORTER_OTLP_PROTOCOL")
    """The only protocol that is spoken."""

    otel_traces_sampler: Literal[
        "always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"
    ] = Field("parentbased_always_on", validation_alias="OTEL_TRACES_SAMPLER")
    """Which traces are exported; the parentbased ones leave it to the caller where a traceparent came."""

    otel_traces_sampler_arg: float = Field(1.0, ge=0, le=1, validation_alias="OTEL_TRACES_SAMPLER_ARG")
    """The share of traces that the ratios export."""

    otel_service_name: str | None = Field(None, validation_alias="OTEL_SERVICE_NAME")
    """What the spans' service is called, instead of mediagen-gateway, mediagen-jobs, mediagen-generator."""


def load_settings(settings: type[Model]) -> Model:
    """Builds a service's settings from the environment; where one is wrong or missing, says so in one line and exits with 2.

    The message names the variable and what is wrong with it, never the value: it may be a secret.
    """
    try:
        return settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        prefix = str(settings.model_config.get("env_prefix", ""))
        name = "_".join(str(part) for part in first["loc"])
        aliases = {field.validation_alias for field in settings.model_fields.values()}
        variable = name if name in aliases else (prefix + name).upper() or prefix + "*"
        reason = "is not set" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
        print(f"{variable}: {reason}", file=sys.stderr)  # noqa: T201  the log is not configured yet
        raise SystemExit(2) from None
