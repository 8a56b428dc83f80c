"""Private PostgreSQL, RabbitMQ and S3 for one test session, under `.local/test/<pid of pytest>/`, on free ports.

A test takes them through the fixtures of conftest.py:

    postgres_url        a fresh database with the current schema, postgresql://…; dropped after the test
    empty_postgres_url  a fresh database with nothing in it
    amqp_url            a fresh virtual host with the project's queues and policy, amqp://…
    s3                  a fresh bucket: endpoint, access_key, secret_key, bucket, region
    postgresql, rabbitmq, object_store
                        the servers themselves, running: stop(), kill(), start() followed by wait(); rabbitmq.control(…)
                        is rabbitmqctl, postgresql.execute(…) is psql. The next test finds them running again.
    start_stack, stack  the whole system: see stack.py

Each server starts when the first test asks for it. They end with the session; what a session that was killed left
behind is ended by the next one.
"""

import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import ports
import processes
import stores
from object_store import REGION, ObjectStore
from part import Part, reap
from postgresql import PostgreSQL
from rabbitmq import Epmd, RabbitMQ
from services import ROOT, Services

SESSIONS = ROOT / ".local" / "test"
KEPT_LOGS = ROOT / ".local" / "log" / "tests"
Server = TypeVar("Server", bound=Part)


@dataclass(frozen=True)
class Bucket:
    """A bucket that exists, and the keys to it."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str
    region: str = REGION


class Servers:
    """The servers of one session; each is started when it is first asked for."""

    def __init__(self, state: Path, *, durable: bool = False) -> None:
        """`state` is the session's own folder. Where speed is measured PostgreSQL is `durable`; other tests lose no power."""
        self.state = state
        self._durable = durable
        self._password = secrets.token_hex(12)
        self._started: list[Part] = []

    @cached_property
    def postgresql(self) -> PostgreSQL:
        """PostgreSQL, empty."""
        return self._run(PostgreSQL(self.state, ports.any_free_port(), self._password, durable=self._durable))

    @cached_property
    def rabbitmq(self) -> RabbitMQ:
        """RabbitMQ, with the virtual host `mediagen` that no test uses."""
        epmd_port = ports.any_free_port()
        self._run(Epmd(self.state, epmd_port))
        return self._run(RabbitMQ(self.state, ports.any_free_port(), ports.any_free_port(), epmd_port, self._password))

    @cached_property
    def object_store(self) -> ObjectStore:
        """The S3 server, without a bucket."""
        return self._run(stores.object_store(self.state, self._password))

    @cached_property
    def template(self) -> str:
        """The name of a database with the current schema, to be copied."""
        name = "migrated"
        self.postgresql.create_database(name)
        self.migrate(self.postgresql.url(name))
        return name

    def migrate(self, database_url: str) -> None:
        """Give a database the current schema."""
        Services(
            self.state,
            database_url=database_url,
            amqp_url="amqp://nobody:nothing@127.0.0.1:1/none",
            store=self.object_store,
            bucket="none",
            worker_token=secrets.token_hex(12),
            port=lambda _: 1,
        ).migrate()

    @contextmanager
    def database(self, template: str) -> Iterator[str]:
        """A database of its own for one test, as its URL."""
        name = f"test_{secrets.token_hex(6)}"
        self.postgresql.create_database(name, template)
        try:
            yield self.postgresql.url(name)
        finally:
            self._revive(self.postgresql)
            self.postgresql.drop_database(name)

    @contextmanager
    def vhost(self) -> Iterator[str]:
        """A virtual host of its own for one test, as its URL."""
        name = f"test-{secrets.token_hex(6)}"
        self.rabbitmq.add_vhost(name)
        try:
            yield self.rabbitmq.url(name)
        finally:
            self._revive(self.rabbitmq)
            self.rabbitmq.delete_vhost(name)

    def bucket(self) -> Bucket:
        """A bucket of its own for one test."""
        store = self.object_store
        name = f"test-{secrets.token_hex(6)}"
        stores.client_of(store).make_bucket(bucket_name=name)
        return Bucket(store.endpoint, store.access_key, store.secret_key, name)

    def revive_all(self) -> None:
        """Start again what the last test stopped or killed."""
        for part in self._started:
            self._revive(part)

    def end(self) -> None:
        """End everything that was started in this session's name, and delete its folder."""
        _end_session(self.state)

    def keep_logs(self) -> None:
        """Copy the logs to KEPT_LOGS, in place of those of an earlier run that failed; processes of one run have a folder each."""
        run = KEPT_LOGS / os.environ.get("PYTEST_XDIST_TESTRUNUID", self.state.name)
        for other in KEPT_LOGS.glob("*"):
            if other != run:
                shutil.rmtree(other, ignore_errors=True)
        for instance in _instances(self.state):
            if (instance / "log").exists():
                shutil.copytree(instance / "log", run / instance.relative_to(SESSIONS))

    def _run(self, part: Server) -> Server:
        self._started.append(part)
        self._revive(part)
        return part

    def _revive(self, part: Part) -> None:
        if part.start():
            part.wait()


def new_session(*, durable: bool = False) -> Servers:
    """The servers of this session, after the remains of killed sessions were cleared away."""
    SESSIONS.mkdir(parents=True, exist_ok=True)
    own = SESSIONS / str(os.getpid())
    for folder in SESSIONS.iterdir():
        if folder == own or not processes.is_alive(int(folder.name)):
            _end_session(folder)
    return Servers(own, durable=durable)


def _end_session(state: Path) -> None:
    """Kill what belongs to the session (its data is not needed any more) and delete its files."""
    left = [pid for instance in _instances(state) for pid in processes.of_instance(instance)]
    family = {member for pid in left for member in processes.with_descendants(pid)}
    for pid in family:
        processes.send(pid, signal.SIGKILL)
    while any(processes.is_alive(pid) for pid in family):
        time.sleep(0.05)
    reap()
    data = state / "postgresql"
    if data.is_symlink():
        shutil.rmtree(data.resolve(), ignore_errors=True)
    shutil.rmtree(state, ignore_errors=True)


def _instances(state: Path) -> list[Path]:
    """The folders whose processes carry their names: the session's own, and one for each stack."""
    return [state, *state.glob("stack-*")]
