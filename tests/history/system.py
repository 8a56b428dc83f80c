"""What the recorder and the collector need of a running system: a Stack on this machine, or a release in a cluster."""

from pathlib import Path
from typing import Protocol

from history.evidence import Row


class Keys(Protocol):
    """An S3 server and the keys to it."""

    endpoint: str
    access_key: str
    secret_key: str


class Wiring(Protocol):
    """What the services stand on, and the secrets that must show nowhere."""

    database_url: str
    amqp_url: str
    store: Keys
    bucket: str
    worker_token: str


class System(Protocol):
    """One running system."""

    gateway_url: str
    jobs_address: str
    simulator_url: str
    services: Wiring

    @property
    def api_key(self) -> str:
        """A key of the tenant `tests`."""

    def create_key(self, tenant: str) -> str:
        """A new key of a tenant."""

    def generators(self) -> int:
        """How many generators run."""

    def vitals(self) -> list[Row]:
        """A sample of every process that runs; see Evidence.vitals."""

    def rabbitmqctl(self, *arguments: str) -> str:
        """What RabbitMQ's own tool says."""

    def log_files(self) -> list[Path]:
        """The logs of everything."""
