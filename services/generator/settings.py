"""The generator's settings: environment variables that begin with GENERATOR_. The protocol's times are told by jobs instead."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, HttpUrl, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from chassis.settings import AmqpSettings, HostPort, Listen, TracingSettings
from chassis.tls import JobsTlsSettings
from generator.hosts import HostPattern, parse_host_patterns

REPLICATE = "https://api.replicate.com"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Settings(TracingSettings, AmqpSettings, JobsTlsSettings):
    """One generator: whom it works for, which provider account it spends, and which bucket it fills."""

    model_config = SettingsConfigDict(env_prefix="GENERATOR_", frozen=True)

    jobs_address: Listen = HostPort("127.0.0.1", 50052)
    """host:port of the WorkerService of jobs."""

    worker_token: SecretStr = Field(min_length=1)
    """The token that jobs knows workers by, as its JOBS_WORKER_TOKEN."""

    amqp_url: SecretStr
    """amqp://user:password@host:port/vhost of RabbitMQ. While it is away the generator asks jobs for work instead."""

    metrics_listen: Listen = HostPort("127.0.0.1", 9102)
    """host:port of /metrics, /livez and /readyz."""

    replicate_url: HttpUrl = HttpUrl(REPLICATE)
    """Base URL of Replicate's API, without /v1. Another one, such as a simulator's, needs no token."""

    replicate_token: SecretStr | None = Field(None, validate_default=True)
    """The API token of the Replicate account that pays."""

    webhook_url: HttpUrl | None = None
    """Where Replicate reaches the gateway, as https://host[:port][/path]: predictions then report to it when they begin and end.
    Without it, and where reports are lost, they are polled. http is for a simulator on this machine alone."""

    output_hosts: Annotated[tuple[HostPattern, ...], NoDecode, BeforeValidator(parse_host_patterns)] = (
        HostPattern("replicate.delivery", None),
        HostPattern("*.replicate.delivery", None),
    )
    """Where outputs may be downloaded from, with commas between: `host` or `*.suffix` (https, port 443), or `host:port` (http too).
    A host that is named exactly may have a private address."""

    s3_endpoint: HttpUrl = HttpUrl("http://127.0.0.1:9000")
    """URL of the S3 server, without the bucket."""

    s3_access_key: str
    """Access key that may write to the bucket."""

    s3_secret_key: SecretStr
    """Its secret key."""

    s3_bucket: str = Field("media", pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    """The bucket; it is made where it is missing."""

    s3_region: str = "us-east-1"
    """The region that requests to S3 are signed for."""

    slots: int = Field(100, ge=1, le=5000)
    """How many jobs this process works on at a time; those that only report their end are beyond that. Most wait for Replicate, so
    thousands are cheap."""

    max_output_bytes: int = Field(1024**3, ge=1024)
    """The largest output that is stored, in bytes; a job with a larger one fails with `output_too_large`."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe log lines to write."""

    @field_validator("replicate_token")
    @classmethod
    def _some_provider(cls, token: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if token is not None and token.get_secret_value():
            return token
        if info.data.get("replicate_url") == HttpUrl(REPLICATE):
            raise ValueError("is not set: give a token of Replicate, or the URL of a simulator as GENERATOR_REPLICATE_URL")
        return None

    @field_validator("webhook_url")
    @classmethod
    def _reachable_safely(cls, url: HttpUrl | None) -> HttpUrl | None:
        if url is None:
            return None
        if url.scheme != "https" and url.host not in LOOPBACK:
            raise ValueError("must begin with https://; http is for this machine alone, as http://127.0.0.1:8080")
        if url.query or url.fragment or url.username or url.password:
            raise ValueError("must be https://host[:port][/path] and nothing more")
        return url
