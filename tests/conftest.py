"""Fixtures for every test: private servers (servers.py) and the whole system on them (stack.py).

A test that asks for none of them starts nothing: tests/unit needs no server.
"""

import os
import signal

# A loop starts programs by fork(), and gRPC's handlers for forks crash some of these children before they are another program. No
# child here goes on with gRPC. It has to be said before gRPC is first used.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest
import pytest_asyncio
import uvloop
from hypothesis import HealthCheck, settings

from client import Client
from object_store import ObjectStore
from postgresql import PostgreSQL
from rabbitmq import RabbitMQ
from servers import KEPT_LOGS, Bucket, Servers, new_session
from stack import Stack

# A machine that is busy with everything else draws slowly, and its speed proves nothing.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], Any]]:
    """Tests run on the loop that the services run on."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_sessionstart(session: pytest.Session) -> None:
    """A session that is told to end (as CI does when time is over) ends its servers, too."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """Where something failed, say where the servers' and the services' logs are."""
    if exitstatus and KEPT_LOGS.exists():
        terminalreporter.write_line(f"the logs of the servers and services of these tests: {KEPT_LOGS}")


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """The session's servers, none of them started yet."""
    session = new_session()
    try:
        yield session
    finally:
        if request.session.testsfailed:
            session.keep_logs()
        session.end()


@pytest.fixture
def postgresql(servers: Servers) -> Iterator[PostgreSQL]:
    """The PostgreSQL server, running; a test may stop, kill and start it."""
    yield servers.postgresql
    servers.revive_all()


@pytest.fixture
def rabbitmq(servers: Servers) -> Iterator[RabbitMQ]:
    """The RabbitMQ server, running; a test may stop, kill and start it."""
    yield servers.rabbitmq
    servers.revive_all()


@pytest.fixture
def object_store(servers: Servers) -> Iterator[ObjectStore]:
    """The S3 server, running; a test may stop, kill and start it."""
    yield servers.object_store
    servers.revive_all()


@pytest.fixture
def postgres_url(servers: Servers) -> Iterator[str]:
    """A fresh database with the current schema."""
    with servers.database(servers.template) as url:
        yield url


@pytest.fixture
def empty_postgres_url(servers: Servers) -> Iterator[str]:
    """A fresh database with nothing in it."""
    with servers.database("template1") as url:
        yield url


@pytest.fixture
def amqp_url(servers: Servers) -> Iterator[str]:
    """A fresh virtual host with the project's queues and policy."""
    with servers.vhost() as url:
        yield url


@pytest.fixture
def s3(servers: Servers) -> Bucket:
    """A fresh bucket."""
    return servers.bucket()


@pytest.fixture
def start_stack(
    request: pytest.FixtureRequest, servers: Servers, postgres_url: str, amqp_url: str, s3: Bucket
) -> Iterator[Callable[..., Stack]]:
    """Start the whole system, with as many generators and the settings that the call names; it ends with the test."""
    stacks: list[Stack] = []

    def start(generators: int = 2, **settings: str) -> Stack:
        state = servers.state / f"stack-{len(list(servers.state.glob('stack-*'))) + 1}-{request.node.name[:60]}"
        stacks.append(Stack(state, servers, postgres_url, amqp_url, s3, settings))
        stacks[-1].start(generators)
        return stacks[-1]

    yield start
    for stack in stacks:
        stack.stop()


@pytest_asyncio.fixture
async def start_client(start_stack: Callable[..., Stack]) -> AsyncIterator[Callable[..., Client]]:
    """Starts a system and returns a client of it, as start_stack does."""
    clients: list[Client] = []

    def start(generators: int, **settings: str) -> Client:
        clients.append(Client(start_stack(generators, **settings)))
        return clients[-1]

    yield start
    for client in clients:
        await client.http.aclose()


@pytest.fixture
def stack(start_stack: Callable[..., Stack]) -> Stack:
    """The whole system with two generators and the settings of `make up`."""
    return start_stack()
