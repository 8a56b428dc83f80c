"""The instance of `make up`: everything about it lies in `.local`, and this module says what its parts are."""

import fcntl
import os
import re
import shlex
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

import processes
from credentials import Credentials, write_private
from object_store import ObjectStore
from part import Part
from ports import PORTS, Ports
from postgresql import PostgreSQL
from rabbitmq import Epmd, RabbitMQ
from services import ROOT, SERVICES, Services

STATE = ROOT / ".local"
BUCKET = "media"
RCLONE = ROOT / ".venv" / "bin" / "rclone"
GENERATOR = re.compile(r"generator-([1-9]\d*)")
# Who uses others is ended before them; what is on one line is ended together.
STOP_ORDER = (r"gateway|generator-\d+", "jobs", "simulator|s3|rabbitmq|postgresql", "epmd")


class Instance:
    """The parts of the system on this machine, wired to each other. Making one chooses its ports and passwords."""

    def __init__(self) -> None:
        """Read what is remembered; raise PortRefused where a port that was asked for cannot be had."""
        self.ports = Ports(STATE / "ports.json", lambda name: found(name).pid() is not None)
        self.credentials = Credentials(STATE / "credentials.json")
        self.replicate_token = os.environ.get("REPLICATE_API_TOKEN", "")
        port = {setting: self.ports.get(setting) for setting in PORTS}
        secret = self.credentials
        self.postgresql = PostgreSQL(STATE, port["POSTGRESQL_PORT"], secret["postgresql"])
        self.epmd = Epmd(STATE, port["EPMD_PORT"])
        self.rabbitmq = RabbitMQ(STATE, port["RABBITMQ_PORT"], port["RABBITMQ_DIST_PORT"], port["EPMD_PORT"], secret["rabbitmq"])
        self.s3 = ObjectStore(STATE, port["S3_PORT"], secret["s3_access_key"], secret["s3_secret_key"], RCLONE)
        self.services = Services(
            STATE,
            database_url=self.postgresql.url(),
            amqp_url=self.rabbitmq.url(),
            store=self.s3,
            bucket=BUCKET,
            worker_token=secret["worker_token"],
            port=self.ports.get,
            replicate_token=self.replicate_token,
            webhook_secret=f"whsec_{secret['webhook_secret']}",
            preferences=_service_settings(),
        )

    @property
    def url(self) -> str:
        """Where REST is served."""
        return f"http://127.0.0.1:{self.ports.get('GATEWAY_PORT')}"

    @property
    def simulator_url(self) -> str:
        """Where the simulator is, if the generators work against it."""
        return "" if self.replicate_token else f"http://127.0.0.1:{self.ports.get('SIMULATOR_PORT')}"

    def write_env(self) -> None:
        """Write `.local/env`: what a shell or a script needs to use the system that runs."""
        variables = {
            "MEDIAGEN_URL": self.url,
            "MEDIAGEN_GRPC": f"127.0.0.1:{self.ports.get('JOBS_PORT')}",
            "MEDIAGEN_API_KEY": self.credentials.api_key,
            "MEDIAGEN_WORKER_GRPC": f"127.0.0.1:{self.ports.get('JOBS_WORKER_PORT')}",
            "MEDIAGEN_WORKER_TOKEN": self.credentials["worker_token"],
            "MEDIAGEN_DATABASE_URL": self.postgresql.url(),
            "MEDIAGEN_AMQP_URL": self.rabbitmq.url(),
            **self.s3.settings("MEDIAGEN", BUCKET),
            **({"SIMULATOR_URL": self.simulator_url} if self.simulator_url else {}),
        }
        lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        write_private(STATE / "env", "\n".join(lines) + "\n")

    def remove_data(self) -> None:
        """Delete what the system stored, its secrets and its logs; nothing of it may run."""
        self.postgresql.remove_data()
        for name in ("rabbitmq", "s3", "run", "log"):
            shutil.rmtree(STATE / name, ignore_errors=True)
        for name in ("credentials.json", "ports.json", "env"):
            (STATE / name).unlink(missing_ok=True)


def found(name: str) -> Part:
    """A part as its pid file knows it: enough to see whether it runs, and to end it."""
    number = signal.SIGINT if name == "postgresql" else signal.SIGTERM
    return Part(STATE, name, [], {}, lambda: True, stop_signal=number)


def started_names() -> list[str]:
    """The parts that were started and not stopped since, whether or not they live, in the order of STOP_ORDER."""
    names = sorted(path.stem for path in (STATE / "run").glob("*.pid"))
    return [name for pattern in STOP_ORDER for name in names if re.fullmatch(pattern, name)]


def generator_numbers() -> list[int]:
    """The numbers of the generators that were started and not stopped since."""
    return sorted(int(match[1]) for name in started_names() if (match := GENERATOR.fullmatch(name)))


def end_strays() -> None:
    """End what carries this instance's mark and has no pid file (any more)."""
    for pid in processes.of_instance(STATE):
        processes.send(pid, signal.SIGKILL)


@contextmanager
def exclusive(console: Console) -> Iterator[None]:
    """Let only one `make up` or `make down` of this checkout work at a time."""
    STATE.mkdir(exist_ok=True)
    with (STATE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with console.status("waiting for another make in this checkout"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _service_settings() -> dict[str, str]:
    """The caller's settings of the services, such as GENERATOR_SLOTS or OTEL_EXPORTER_OTLP_ENDPOINT; ports are for others."""
    prefixes = (*(f"{service.upper()}_" for service in SERVICES), "OTEL_")
    others = {*PORTS, "SIMULATOR_URL"}
    return {name: value for name, value in os.environ.items() if name.startswith(prefixes) and name not in others}
