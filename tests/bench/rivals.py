"""The peers as they run here: an API and a worker each, in the environment of requirements/bench-peers.txt, on the same servers."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aio_pika
import asyncpg
from aio_pika.exceptions import ChannelNotFoundEntity

import bootstrap
import ports
import probes
from bench import starts
from bench.subjects import BASE, Workers
from part import Part, stop_together
from services import ROOT

FOLDER = ROOT / "tests" / "bench" / "peers"
VENV = bootstrap.LOCAL / "bench-peers"


@dataclass(frozen=True)
class Design:
    """One peer."""

    name: str
    module: str
    broker: str
    """redis, rabbitmq or postgresql."""
    worker: tuple[str, ...]
    """The arguments of `python -m` that start its worker, the best form of it that was found."""
    queue: str = ""
    """What has to be purged in the broker."""
    api_processes: int = 1


_CELERY = ("celery", "-A", "celery_app:queue", "worker", "-c", "2", "--without-gossip", "--without-mingle", "--without-heartbeat")

_UVICORN = ["--loop", "uvloop", "--http", "httptools", "--timeout-keep-alive", "75", "--no-access-log", "--log-level", "warning"]
"""Its best form; connections are kept as long as the gateway keeps them."""

DESIGNS = {
    "first_design": (
        Design("first design", "celery_app", "redis", _CELERY),
        Design("first design, 2 API processes", "celery_app", "redis", _CELERY, api_processes=2),
    ),
    "celery_rabbitmq": (Design("Celery on RabbitMQ", "celery_app", "rabbitmq", _CELERY, queue="celery"),),
    "taskiq": (
        Design(
            *("taskiq", "taskiq_app", "rabbitmq"),
            ("taskiq", "worker", "taskiq_app:queue", "--workers", "1", "--max-async-tasks", "200", "--log-level", "WARNING"),
            queue="taskiq",
        ),
    ),
    "procrastinate": (
        Design(
            *("procrastinate", "procrastinate_app", "postgresql"),
            ("procrastinate", "--app", "procrastinate_app.queue", "worker", "--concurrency", "50"),
        ),
    ),
}
"""By the names of the setting PEERS. The first design has two forms: with two API processes it accepts more, and completes less."""


def python_of_peers() -> Path:
    """The Python that has the peers' packages; raises StepFailed where it can't be made."""
    with (bootstrap.LOCAL / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        bootstrap.install_uv()
        bootstrap.fill_venv(VENV, ROOT / "requirements" / "bench-peers.txt")
    return VENV / "bin" / "python"


class Redis(Part):
    """A private Redis that keeps nothing on disk, as the first design's does not either."""

    def __init__(self, state: Path) -> None:
        """On a free port."""
        self.port = ports.any_free_port()
        program = shutil.which("redis-server") or "redis-server"
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--databases", "4"]
        arguments += ["--set-proc-title", "no"]  # its title is written over the environment by which a process is known as a part
        super().__init__(state, "redis", [program, *arguments], {}, lambda: probes.accepts_connections(self.port))

    def forget_all(self, database: int) -> None:
        """Empties one database."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(f"SELECT {database}\r\nFLUSHDB\r\n".encode())
            connection.recv(64)


class Peer:
    """One design, running."""

    keys: tuple[str, ...] = ()
    further_ports: tuple[int, ...] = ()

    def __init__(self, design: Design, state: Path, database_url: str, broker_url: str, forget: Callable[[], None]) -> None:
        """`forget` empties its queue, where that is neither RabbitMQ's nor a table's."""
        self.name = design.name
        self.design = design
        self.port = ports.any_free_port()
        self.starts = state / f"starts of {design.name}"
        self._forget = forget
        self._broker_url = broker_url
        self._database_url = database_url
        python = str(VENV / "bin" / "python")
        self._environment = {
            "PYTHONPATH": os.pathsep.join([str(FOLDER), str(FOLDER.parents[1])]),
            "BENCH_DATABASE_URL": database_url,
            "BENCH_BROKER_URL": broker_url,
            starts.VARIABLE: str(self.starts),
        }
        api = ["uvicorn", f"{design.module}:api", "--port", str(self.port), "--workers", str(design.api_processes), *_UVICORN]
        self._api = self._part(state, "API", python, api, lambda: probes.answers_http(self.port, "/openapi.json", only_ok=True))
        self._worker = self._part(state, "worker", python, list(design.worker), lambda: True)
        self._connection: asyncpg.Connection | None = None

    def _part(self, state: Path, role: str, python: str, arguments: list[str], ready: Callable[[], bool]) -> Part:
        # Celery's children answer SIGTERM by finishing what they prefetched; nothing of it is worth a wait.
        return Part(state, f"{self.name} {role}", [python, "-m", *arguments], self._environment, ready, stop_seconds=10)

    async def open(self) -> None:
        """Makes its tables and starts its API."""
        self._once("jobs_table")
        if self.design.broker == "postgresql":
            self._once("procrastinate", "--app", f"{self.design.module}.queue", "schema", "--apply")
        self._api.start()
        self._api.wait()
        self._connection = await asyncpg.connect(self._database_url)

    def _once(self, *arguments: str) -> None:
        subprocess.run([str(VENV / "bin" / "python"), "-m", *arguments], env=os.environ | self._environment, check=True, cwd="/")

    def parts(self) -> dict[str, Part]:
        """Its processes by name."""
        return {part.name: part for part in (self._api, self._worker)}

    def owns(self, process: str) -> bool:
        """As Subject."""
        return process in (self._api.name, self._worker.name, "postgresql", self.design.broker)

    async def working(self, workers: Workers | None) -> None:
        """As Subject: its one worker runs, or does not."""
        if workers is None:
            self._worker.stop()
        else:
            self._worker.start()

    async def clean(self) -> None:
        """As Subject."""
        tables = ["jobs", *(["procrastinate_jobs"] if self.design.broker == "postgresql" else [])]
        await self._connection.execute(f"TRUNCATE {', '.join(tables)} CASCADE")
        await self._connection.execute(
            "INSERT INTO jobs (id, prompt, model, parameters, status, retry_count) SELECT gen_random_uuid(), 'a lighthouse ' || n, "
            f"'black-forest-labs/flux-schnell', '{{\"seed\": 1234567}}', 'completed', 0 FROM generate_series(1, {BASE}) n"
        )
        for table in tables:
            await self._connection.execute(f"VACUUM (ANALYZE) {table}")
        if self.design.broker == "rabbitmq":
            async with await aio_pika.connect(self._broker_url) as connection:
                channel = await connection.channel()
                queue = await channel.get_queue(self.design.queue, ensure=False)
                with contextlib.suppress(ChannelNotFoundEntity):  # nothing was ever posted
                    await queue.purge()
        self._forget()
        if self.starts.exists():
            os.truncate(self.starts, 0)

    async def drained(self) -> bool:
        """As Subject."""
        return not await self._connection.fetchval("SELECT EXISTS (SELECT FROM jobs WHERE status IN ('pending', 'processing'))")

    async def finished_ids(self, count: int) -> list[str]:
        """As Subject."""
        rows = await self._connection.fetch("SELECT id::text FROM jobs WHERE status = 'completed' LIMIT $1", count)
        return [row["id"] for row in rows]

    async def counters(self) -> dict[str, float]:
        """As Subject: it counts nothing."""
        return {}

    async def close(self) -> None:
        """Ends its processes."""
        stop_together([self._api, self._worker])
        if self._connection is not None:
            await asyncio.wait_for(self._connection.close(), 10)
