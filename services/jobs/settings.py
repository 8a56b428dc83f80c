"""The settings of the jobs service: environment variables JOBS_*."""

from typing import Annotated, Literal

from pydantic import AfterValidator, AmqpDsn, Field, PostgresDsn, SecretStr, UrlConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

from chassis.settings import HostPort, Listen

DatabaseUrl = Annotated[PostgresDsn, UrlConstraints(allowed_schemes=["postgresql", "postgres"])]


def _long_enough(token: SecretStr) -> SecretStr:
    if len(token.get_secret_value()) < 16:
        raise ValueError("must have at least 16 characters")
    return token


class DatabaseSettings(BaseSettings):
    """What every command needs: `serve`, `migrate` and `keys`."""

    model_config = SettingsConfigDict(env_prefix="JOBS_", frozen=True, extra="ignore", hide_input_in_errors=True)

    database_url: DatabaseUrl
    """PostgreSQL, as postgresql://user:password@host:port/database."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(DatabaseSettings):
    """What `serve` needs."""

    amqp_url: AmqpDsn
    """RabbitMQ, as amqp://user:password@host:port/vhost. It may be away; the service then rings no bell."""
    listen: Listen = HostPort("127.0.0.1", 50051)
    """JobsService, for the gateway and for clients that speak gRPC."""
    worker_listen: Listen = HostPort("127.0.0.1", 50052)
    """WorkerService, for generators only: never route it."""
    metrics_listen: Listen = HostPort("127.0.0.1", 9101)
    """/metrics, /livez and /readyz."""
    worker_token: Annotated[SecretStr, AfterValidator(_long_enough)]
    """The secret that generators show; at least 16 characters."""
    auth: Literal["keys", "none"] = "keys"
    """`none` lets everybody in as the tenant `default`: for one machine of your own only."""
    default_model: str = "black-forest-labs/flux-schnell"
    """The model of a job that names none."""
    max_attempts: int = Field(4, ge=1, le=20)
    """Paid attempts of a job: three retries."""
    max_waiting: int = Field(100_000, ge=1)
    """How many jobs of one tenant may wait, where the tenant has no number of its own."""
    deadline_seconds: int = Field(86_400, ge=5, le=604_800)
    """After how long a job that says nothing of it is given up."""
    creates_per_minute: int = Field(600, ge=0)
    """The account's creates a minute, shared by all generators; 0 means unlimited. Replicate allows 600."""
    reads_per_minute: int = Field(3000, ge=0)
    """The account's other calls a minute, shared likewise. Replicate allows 3,000."""
    access_token_seconds: int = Field(0, ge=0)
    """How long a media_url works; 0 means as long as its job is kept."""
    idempotency_seconds: int = Field(86_400, ge=60)
    """How long an Idempotency-Key is remembered."""
    pool_size: int = Field(10, ge=2, le=100)
    """Connections to PostgreSQL."""
    time_scale: float = Field(1.0, gt=0, le=10)
    """Multiplies every time of the protocol. Leave it at 1, except in tests."""
