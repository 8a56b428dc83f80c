"""A fleet on servers of its own, and the version before this one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from servers import Bucket, Servers
from services import ROOT
from stack import Stack
from upgrade.fleet import Fleet
from upgrade.previous import extract, previous_revision

StartFleet = Callable[..., Awaitable[Fleet]]


@pytest.fixture(scope="session")
def previous(servers: Servers) -> Path:
    """The source tree of the version before this one."""
    tree = servers.state / "previous"
    extract(previous_revision(), tree)
    return tree


@pytest_asyncio.fixture
async def start_fleet(
    request: pytest.FixtureRequest, servers: Servers, empty_postgres_url: str, amqp_url: str, s3: Bucket
) -> AsyncIterator[StartFleet]:
    """Starts a fleet of a version, on that version's schema, with the settings that the call names; it ends with the test."""
    fleets: list[Fleet] = []

    async def start(source: Path = ROOT, **settings: str) -> Fleet:
        state = servers.state / f"stack-{request.node.name[:60]}"
        fleet = Fleet.wired(lambda wired: Stack(state, servers, empty_postgres_url, amqp_url, s3, wired, source), **settings)
        fleets.append(fleet)
        fleet.stack.services.migrate()
        await fleet.start()
        return fleet

    yield start
    for fleet in fleets:
        await fleet.aclose()
