"""The simulator's settings: environment variables that begin with SIMULATOR_."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from chassis.settings import HostPort, Listen

_SIGNING_KEY = r"^whsec_(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"


class Settings(BaseSettings):
    """Every setting has a default: `python -m simulator` starts without any."""

    model_config = SettingsConfigDict(env_prefix="SIMULATOR_", frozen=True)

    listen: Listen = HostPort("127.0.0.1", 8090)
    """host:port of the API. Clients use http://host:port as base URL (replicate 1.x) or http://host:port/v1 (2.x)."""

    files_listen: Listen = HostPort("127.0.0.1", 8091)
    """host:port of the output files. URLs of outputs name the host that a client called the API by, and this port."""

    control: bool = False
    """Serve /control/… (ledger, faults, reset) on the API's port. Whoever reaches it can break every prediction."""

    predict_seconds: float = Field(2.0, ge=0, le=1800)
    """About how long a prediction runs, in seconds; each takes between 0.7 and 1.3 times that."""

    queue_seconds: float = Field(0.2, ge=0, le=1800)
    """About how long a prediction waits in `starting`, in seconds; between 0.7 and 1.3 times that."""

    creates_per_minute: int = Field(600, ge=0)
    """Creates that the account may make in a minute before it gets 429; 0 is unlimited. A sixth of them may come at once."""

    reads_per_minute: int = Field(3000, ge=0)
    """All other calls that the account may make in a minute; 0 is unlimited. A sixth of them may come at once."""

    retention_seconds: float = Field(3600, gt=0)
    """How long after its end a prediction keeps input, output and files, in seconds (Replicate: one hour)."""

    webhook_secret: str = Field("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3", pattern=_SIGNING_KEY)
    """What webhooks are signed with, in standard base64 after `whsec_`: client 1.0.7 can't read the URL-safe kind. The default
    is a published test vector, which protects nothing."""

    webhook_http: bool = False
    """Take `http:` webhook URLs of any host, not of loopback ones only. Replicate takes none."""

    webhook_retry_seconds: float = Field(60, ge=0)
    """When a webhook of a prediction's end is tried for the last time, in seconds after the end (Replicate: about a minute)."""

    seed: int = 0
    """Seed of the durations: the n-th prediction after a start or a reset takes equally long in every run."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe log lines to write."""
