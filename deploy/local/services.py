"""The project's own services as processes: which command, which settings, and when each is ready.

`make up` and the tests start them from here, so that both run what the other runs.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import probes
from object_store import ObjectStore
from part import Part, PartFailed, inherited_environment


def import_roots(source: Path) -> str:
    """The PYTHONPATH of a source tree's services."""
    return f"{source / 'services'}:{source / 'protos' / 'gen'}"


ROOT = Path(__file__).resolve().parents[2]
IMPORT_ROOTS = import_roots(ROOT)
SERVICES = ("simulator", "jobs", "generator", "gateway")
DRAIN_SECONDS = 40.0  # how long a generator may take to hand its work back


class Services:
    """The services of one instance, wired to its servers and to each other.

    `port` gives the number for a name such as GATEWAY_PORT or GENERATOR_1_METRICS_PORT, the same one each time.
    `preferences` are settings that give way to this wiring (a user's environment), `overrides` win over it (a test's).
    With `replicate_token` the generators work against Replicate; without it, against the simulator, which reports to the gateway by
    webhooks where there is a `webhook_secret`. `source` is the tree whose code runs; it may be changed, and what is made from then
    on is of the other version. Of jobs and the gateway there may be several: `jobs` is the first, `jobs-2` the second, with ports
    such as JOBS_2_PORT.
    """

    def __init__(
        self,
        state: Path,
        *,
        database_url: str,
        amqp_url: str,
        store: ObjectStore,
        bucket: str,
        worker_token: str,
        port: Callable[[str], int],
        replicate_token: str = "",
        webhook_secret: str = "",
        preferences: Mapping[str, str] | None = None,
        overrides: Mapping[str, str] | None = None,
        source: Path = ROOT,
    ) -> None:
        """Keep the wiring; nothing is started here."""
        self.state = state
        self.database_url = database_url
        self.amqp_url = amqp_url
        self.store = store
        self.bucket = bucket
        self.worker_token = worker_token
        self.port = port
        self.replicate_token = replicate_token
        self.webhook_secret = "" if replicate_token else webhook_secret
        self.preferences = dict(preferences or {})
        self.overrides = dict(overrides or {})
        self.source = source

    def named(self, name: str) -> Part:
        """The part of that name: simulator, jobs, jobs-2, gateway, gateway-2, generator-1 …"""
        service, _, number = name.partition("-")
        makers: dict[str, Callable[[int], Part]] = {"jobs": self.jobs, "generator": self.generator, "gateway": self.gateway}
        return self.simulator() if service == "simulator" else makers[service](int(number or 1))

    def simulator(self) -> Part:
        """The double of Replicate, with its control interface on: this is nobody's production."""
        computed = {
            "SIMULATOR_LISTEN": self._listen("SIMULATOR_PORT"),
            "SIMULATOR_FILES_LISTEN": self._listen("SIMULATOR_FILES_PORT"),
            "SIMULATOR_CONTROL": "true",
            **({"SIMULATOR_WEBHOOK_SECRET": self.webhook_secret} if self.webhook_secret else {}),
        }
        port = self.port("SIMULATOR_PORT")
        return self._part("simulator", [], computed, self._is_ready("SIMULATOR_PORT"), f"http://127.0.0.1:{port}")

    def jobs(self, number: int = 1) -> Part:
        """The owner of PostgreSQL; `migrate` has to have run."""
        name, ports = _numbered("jobs", number)
        ready = self._is_ready(f"{ports}_METRICS_PORT")
        return self._part("jobs", ["serve"], self._jobs_settings(ports), ready, self._listen(f"{ports}_PORT"), name)

    def generator(self, number: int) -> Part:
        """One of any number of generators, counted from 1."""
        metrics = f"GENERATOR_{number}_METRICS_PORT"
        computed = {
            "GENERATOR_JOBS_ADDRESS": self._listen("JOBS_WORKER_PORT"),
            "GENERATOR_WORKER_TOKEN": self.worker_token,
            "GENERATOR_AMQP_URL": self.amqp_url,
            "GENERATOR_METRICS_LISTEN": self._listen(metrics),
            **self._provider(),
            **self.store.settings("GENERATOR", self.bucket),
        }
        return self._part("generator", [], computed, self._is_ready(metrics), "", name=f"generator-{number}")

    def gateway(self, number: int = 1) -> Part:
        """REST, for the clients."""
        name, ports = _numbered("gateway", number)
        computed = {
            "GATEWAY_LISTEN": self._listen(f"{ports}_PORT"),
            "GATEWAY_METRICS_LISTEN": self._listen(f"{ports}_METRICS_PORT"),
            "GATEWAY_JOBS_ADDRESS": self._listen("JOBS_PORT"),
            **self.store.settings("GATEWAY", self.bucket),
            **({"GATEWAY_REPLICATE_WEBHOOK_SECRET": self.webhook_secret} if self.webhook_secret else {}),
        }
        address = f"http://{self._listen(f'{ports}_PORT')}"
        return self._part("gateway", [], computed, self._is_ready(f"{ports}_METRICS_PORT"), address, name)

    def migrate(self) -> None:
        """Bring the database to this code's schema."""
        self._run_jobs("migrate")

    def create_key(self, tenant: str, name: str) -> str:
        """Make an API key and return it."""
        return self._run_jobs("keys", "create", "--tenant", tenant, "--name", name).strip()

    def _provider(self) -> dict[str, str]:
        if self.replicate_token:
            return {"GENERATOR_REPLICATE_TOKEN": self.replicate_token}
        return {
            "GENERATOR_REPLICATE_URL": f"http://{self._listen('SIMULATOR_PORT')}",
            "GENERATOR_OUTPUT_HOSTS": self._listen("SIMULATOR_FILES_PORT"),
            **({"GENERATOR_WEBHOOK_URL": f"http://{self._listen('GATEWAY_PORT')}"} if self.webhook_secret else {}),
        }

    def _jobs_settings(self, ports: str = "JOBS") -> dict[str, str]:
        return {
            "JOBS_DATABASE_URL": self.database_url,
            "JOBS_AMQP_URL": self.amqp_url,
            "JOBS_LISTEN": self._listen(f"{ports}_PORT"),
            "JOBS_WORKER_LISTEN": self._listen(f"{ports}_WORKER_PORT"),
            "JOBS_METRICS_LISTEN": self._listen(f"{ports}_METRICS_PORT"),
            "JOBS_WORKER_TOKEN": self.worker_token,
        }

    def _listen(self, setting: str) -> str:
        return f"127.0.0.1:{self.port(setting)}"

    def _is_ready(self, metrics: str) -> Callable[[], bool]:
        port = self.port(metrics)
        return lambda: probes.answers_http(port, "/readyz", only_ok=True)

    def _environment(self, service: str, computed: Mapping[str, str]) -> dict[str, str]:
        own = (f"{service.upper()}_", "OTEL_")  # where traces go is told to all in the same words
        preferred = {name: value for name, value in self.preferences.items() if name.startswith(own)}
        overridden = {name: value for name, value in self.overrides.items() if name.startswith(own)}
        python = {"PYTHONPATH": import_roots(self.source), "PYTHONUNBUFFERED": "1"}
        return {**python, **preferred, **computed, **overridden}

    def _part(
        self,
        service: str,
        arguments: list[str],
        computed: Mapping[str, str],
        is_ready: Callable[[], bool],
        address: str,
        name: str = "",
    ) -> Part:
        command = [sys.executable, "-m", service, *arguments]
        environment = self._environment(service, computed)
        return Part(self.state, name or service, command, environment, is_ready, address=address, stop_seconds=DRAIN_SECONDS)

    def _run_jobs(self, *arguments: str) -> str:
        """Run a command of `python -m jobs` to its end and return its standard output."""
        environment = self._environment("jobs", self._jobs_settings())
        done = subprocess.run(
            [sys.executable, "-m", "jobs", *arguments],
            env=inherited_environment() | environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise PartFailed(f"python -m jobs {' '.join(arguments)} failed:\n{done.stderr.strip()}")
        return done.stdout


def _numbered(service: str, number: int) -> tuple[str, str]:
    """The name of a part of which there may be several, and how its ports' settings begin."""
    name = service if number == 1 else f"{service}-{number}"
    return name, name.upper().replace("-", "_")
