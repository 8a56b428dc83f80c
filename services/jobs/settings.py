"""The settings of the jobs service: environment variables JOBS_*."""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AmqpDsn,
    Field,
    FilePath,
    PostgresDsn,
    SecretStr,
    UrlConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from chassis.settings import AmqpSettings, HostPort, Listen, TracingSettings, with_password
from chassis.tls import ServerTls
from jobs.database_url import connect_arguments

DatabaseUrl = Annotated[PostgresDsn, UrlConstraints(allowed_schemes=["postgresql", "postgres"])]


def _long_enough(token: SecretStr) -> SecretStr:
    if len(token.get_secret_value()) < 16:
        raise ValueError("must have at least 16 characters")
    return token


class DatabaseSettings(BaseSettings):
    """What every command needs: `serve`, `migrate` and `keys`."""

    model_config = SettingsConfigDict(env_prefix="JOBS_", frozen=True, extra="ignore", hide_input_in_errors=True)

    database_password: SecretStr | None = None
    """The password of database_url, just as it is; without it, the one in the URL holds."""
    database_url: DatabaseUrl
    """PostgreSQL, as postgresql://user:password@host:port/database, or as its host hands it out: `?sslmode=verify-full`,
    `&sslrootcert=/a/file` (or `system`), sslcert, sslkey, target_session_attrs and several hosts with commas between work as with
    libpq, and PGSSLMODE and PGSSLROOTCERT hold where it says nothing. What cannot be done, such as channel_binding=require, is
    refused at the start."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("database_url", mode="before")
    @classmethod
    def _database_password(cls, url: object, info: ValidationInfo) -> object:
        return with_password(url, info.data.get("database_password"))

    @field_validator("database_url")
    @classmethod
    def _can_be_done(cls, url: PostgresDsn) -> PostgresDsn:
        connect_arguments(str(url))
        return url


class Settings(TracingSettings, AmqpSettings, DatabaseSettings):  # the last one gives the prefix
    """What `serve` needs."""

    amqp_url: AmqpDsn
    """RabbitMQ, as amqp://user:password@host:port/vhost. It may be away; the service then rings no bell."""
    listen: Listen = HostPort("127.0.0.1", 50051)
    """JobsService, for the gateway and for clients that speak gRPC."""
    worker_listen: Listen = HostPort("127.0.0.1", 50052)
    """WorkerService, for generators only: never route it."""
    tls_cert_file: FilePath | None = None
    """The certificate that both gRPC ports show: with it they speak TLS, and nothing else. New files are taken while it runs."""
    tls_key_file: FilePath | None = None
    """Its private key."""
    tls_client_ca_file: FilePath | None = None
    """The authority of the clients' certificates; with it whoever calls has to show one."""
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
    retention_seconds: int = Field(0, ge=0, le=315_360_000)
    """How long after its end a job is kept, with all that is known of it: 0 means for ever, otherwise a day at least, and ten years
    at most. Files stay: their bucket has rules of its own for that."""
    pool_size: int = Field(10, ge=2, le=100)
    """Connections to PostgreSQL."""
    connection_age_seconds: int = Field(300, ge=10, le=86_400)
    """How old a client's connection grows. Clients look for new pods when one ends, so each has its share about as soon."""
    time_scale: float = Field(1.0, ge=0.01, le=10)
    """Multiplies every time of the protocol. Leave it at 1, except in tests: a lost create has so much less time to be seen."""

    @field_validator("tls_client_ca_file")
    @classmethod
    def _only_with_tls(cls, file: object, info: ValidationInfo) -> object:
        if file is not None and not (info.data.get("tls_cert_file") and info.data.get("tls_key_file")):
            raise ValueError("is of use with JOBS_TLS_CERT_FILE and JOBS_TLS_KEY_FILE only")
        return file

    @field_validator("retention_seconds")
    @classmethod
    def _outlives_what_needs_it(cls, seconds: int, info: ValidationInfo) -> int:
        """A key leads to its job, and for an hour what a look-up finds is compared to what other jobs have made."""
        least = max(86_400, info.data.get("idempotency_seconds", 0))
        if 0 < seconds < least:
            raise ValueError(f"must be 0, or at least {least}: a day, and JOBS_IDEMPOTENCY_SECONDS")
        return seconds

    @property
    def tls(self) -> ServerTls | None:
        """None where TLS is not spoken."""
        if self.tls_cert_file is None or self.tls_key_file is None:
            return None
        return ServerTls(self.tls_cert_file, self.tls_key_file, self.tls_client_ca_file)
