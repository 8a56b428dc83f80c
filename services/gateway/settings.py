"""The gateway's settings: environment variables that begin with GATEWAY_."""

import base64
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode, SettingsConfigDict

from chassis.settings import HostPort, Listen, TracingSettings
from chassis.tls import JobsTlsSettings

MAX_WEBHOOK_SECRETS = 2
MIN_WEBHOOK_KEY_BYTES = 16


def parse_endpoint(value: object) -> object:
    """Checks that an S3 endpoint is a bare http(s) URL; raises ValueError with what to write instead."""
    wrong = ValueError("must be http(s)://host[:port] and nothing more, such as http://127.0.0.1:9000")
    try:
        url = urlsplit(str(value))
        port = url.port
    except ValueError:
        raise wrong from None
    if url.scheme not in ("http", "https") or not url.hostname or port == 0 or url.path.strip("/") or url.query or url.username:
        raise wrong
    return f"{url.scheme}://{url.netloc}"


def parse_origins(value: object) -> object:
    """Splits a comma separated list of origins; raises ValueError for what is none."""
    if not isinstance(value, str):
        return value
    origins = tuple(origin.strip() for origin in value.split(",") if origin.strip())
    for origin in origins:
        url = urlsplit(origin)
        if origin != "*" and (url.scheme not in ("http", "https") or origin != f"{url.scheme}://{url.netloc}"):
            raise ValueError("must be * or origins such as https://app.example.com, separated by commas")
    return origins


def parse_webhook_secrets(value: object) -> object:
    """Splits one or two signing secrets; raises ValueError for what is none, without telling it."""
    if not isinstance(value, str):
        return value
    secrets = tuple(secret.strip() for secret in value.split(",") if secret.strip())
    for secret in secrets:
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except ValueError:
            key = b""
        if not secret.startswith("whsec_") or len(key) < MIN_WEBHOOK_KEY_BYTES or len(secrets) > MAX_WEBHOOK_SECRETS:
            raise ValueError(
                "must be whsec_ and base64, as Replicate gives it; two of them, separated by a comma, while it changes"
            )
    return tuple(map(SecretStr, secrets))


class Settings(TracingSettings, JobsTlsSettings):
    """Where the gateway listens, and what it stands on."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True)

    listen: Listen = HostPort("127.0.0.1", 8080)
    """host:port of the REST API."""

    metrics_listen: Listen = HostPort("127.0.0.1", 9100)
    """host:port of /metrics, /livez and /readyz; never routed to users."""

    jobs_address: Listen = HostPort("127.0.0.1", 50051)
    """host:port of JobsService; every address of the name is used in turn."""

    s3_endpoint: Annotated[str, BeforeValidator(parse_endpoint)]
    """http(s)://host[:port] of the object store."""

    s3_access_key: str
    """Access key that may read the bucket; it needs no other right."""

    s3_secret_key: SecretStr
    """Its secret."""

    s3_bucket: str = Field("media", min_length=1)
    """The bucket that generators store outputs in."""

    s3_region: str = Field("us-east-1", min_length=1)
    """The bucket's region; self-hosted stores take any."""

    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(parse_origins)] = ()
    """Origins whose pages may call the API from a browser, separated by commas; `*` is every one. Empty turns CORS off."""

    max_body_bytes: int = Field(262_144, ge=1024)
    """Size of the largest request body, in bytes; a larger one is answered with 413."""

    replicate_webhook_secret: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(parse_webhook_secrets)] = ()
    """What Replicate signs webhooks with: `whsec_…`, as GET /v1/webhooks/default/secret tells it. While it changes, the old and the
    new one, separated by a comma. Without it no webhook is taken."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is logged."""
