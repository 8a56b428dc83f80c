"""The whole system in a test: simulator, jobs, generators and gateway as real processes on the session's servers.

stack = start_stack(generators=3, JOBS_TIME_SCALE="0.1", SIMULATOR_PREDICT_SECONDS="0.5")
stack.gateway_url, stack.jobs_address, stack.worker_address, stack.worker_token, stack.simulator_url
                                     GATEWAY_REPLICATE_WEBHOOK_SECRET="whsec_…" lets the simulator report by webhooks
stack.api_key                        a key of the tenant "tests"; stack.create_key("other") makes one of another tenant
stack.kill("generator-2")            SIGKILL; stop(name) asks with SIGTERM, start_part(name) starts it again
stack.pid("jobs"), stack.log("jobs") a process id; everything the process wrote
stack.start(2, jobs=2, gateways=2)   a second of these, too: "jobs-2", "gateway-2"; stack.exit_code("jobs-2") once it has ended
stack.run_from(tree, "jobs-2")       the next start of that part is from another source tree
stack.port("JOBS_PORT")              the port of a setting of deploy/local/ports.py
stack.generators(), stack.vitals(), stack.rabbitmqctl("list_queues"), stack.log_files(): what tests/history wants to know
stack.servers                        PostgreSQL, RabbitMQ and S3, to be broken
stack.add_generator()                one more
"""

import secrets
from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import ports
from history.evidence import Row
from history.vitals import sample
from part import Part, stop_together
from services import ROOT, Services

if TYPE_CHECKING:
    from servers import Bucket, Servers

START_SECONDS = 120.0


class Stack:
    """One running system."""

    def __init__(
        self,
        state: Path,
        servers: "Servers",
        database_url: str,
        amqp_url: str,
        bucket: "Bucket",
        settings: Mapping[str, str],
        source: Path = ROOT,
    ) -> None:
        """`state` is the folder of its logs; `settings` win over those that wire the parts to each other; `source` has the code."""
        self.state = state
        self.servers = servers
        self.worker_token = secrets.token_hex(16)
        self._ports: defaultdict[str, int] = defaultdict(ports.any_free_port)
        self.services = Services(
            state,
            database_url=database_url,
            amqp_url=amqp_url,
            store=servers.object_store,
            bucket=bucket.bucket,
            worker_token=self.worker_token,
            port=self.port,
            webhook_secret=settings.get("GATEWAY_REPLICATE_WEBHOOK_SECRET", ""),
            overrides=settings,
            source=source,
        )
        self.parts: dict[str, Part] = {}
        self.gateway_url = f"http://127.0.0.1:{self.port('GATEWAY_PORT')}"
        self.jobs_address = f"127.0.0.1:{self.port('JOBS_PORT')}"
        self.worker_address = f"127.0.0.1:{self.port('JOBS_WORKER_PORT')}"
        self.simulator_url = f"http://127.0.0.1:{self.port('SIMULATOR_PORT')}"

    def start(self, generators: int, *, jobs: int = 1, gateways: int = 1) -> None:
        """Start every part and wait until all are ready; raise PartFailed, with the log's end, if one is not."""
        parts = [
            self.services.simulator(),
            *[self.services.jobs(number + 1) for number in range(jobs)],
            *[self.services.generator(number + 1) for number in range(generators)],
            *[self.services.gateway(number + 1) for number in range(gateways)],
        ]
        self.parts = {part.name: part for part in parts}
        for part in parts:
            part.start()
        for part in parts:
            part.wait(START_SECONDS)

    def add_generator(self) -> str:
        """Start one more generator and return its name."""
        number = sum(name.startswith("generator-") for name in self.parts) + 1
        part = self.services.generator(number)
        self.parts[part.name] = part
        self.start_part(part.name)
        return part.name

    def start_part(self, name: str) -> None:
        """Start a part that was stopped or killed, and wait until it is ready."""
        self.parts[name].start()
        self.parts[name].wait(START_SECONDS)

    def stop(self, name: str | None = None) -> None:
        """Ask one part to end, or all of them: those that use others first."""
        if name is not None:
            self.parts[name].stop()
            return
        clients = [part for part in self.parts.values() if part.name.startswith(("gateway", "generator"))]
        stop_together(clients)
        stop_together([part for part in self.parts.values() if part not in clients])

    def kill(self, name: str) -> None:
        """End a part as a crash would."""
        self.parts[name].kill()

    def run_from(self, source: Path, name: str) -> None:
        """Let a part that was stopped be of another version when it starts again."""
        self.services.source = source
        self.parts[name] = self.services.named(name)

    def exit_code(self, name: str) -> int | None:
        """How a part has ended: below 0 by a signal, None where it has not."""
        return self.parts[name].exit_code()

    def port(self, setting: str) -> int:
        """The port of a setting such as JOBS_2_PORT."""
        return self._ports[setting]

    def pid(self, name: str) -> int | None:
        """The process id of a part that lives."""
        return self.parts[name].pid()

    def log(self, name: str) -> str:
        """Everything that a part has written."""
        return self.parts[name].log_file.read_text(errors="replace")

    def metrics_url(self, name: str) -> str:
        """The base URL of a part's /metrics, /livez and /readyz; name is jobs, gateway or generator-N."""
        setting = f"{name.upper().replace('-', '_')}_METRICS_PORT"
        return f"http://127.0.0.1:{self.port(setting)}"

    def generators(self) -> int:
        """How many generators run."""
        return sum(self.pid(name) is not None for name in self.parts if name.startswith("generator-"))

    def vitals(self) -> list[Row]:
        """A sample of every part that runs."""
        return sample({name: pid for name in list(self.parts) if (pid := self.pid(name)) is not None})

    def rabbitmqctl(self, *arguments: str) -> str:
        """What RabbitMQ's own tool says."""
        return self.servers.rabbitmq.control(*arguments)

    def log_files(self) -> list[Path]:
        """The logs of all parts and of the servers."""
        return [file for state in (self.state, self.servers.state) for file in sorted((state / "log").glob("*.log*"))]

    def create_key(self, tenant: str) -> str:
        """A new API key of a tenant."""
        return self.services.create_key(tenant, "tests")

    @cached_property
    def api_key(self) -> str:
        """A key of the tenant `tests`."""
        return self.create_key("tests")
