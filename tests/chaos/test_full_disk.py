"""PostgreSQL has no room: what it cannot keep is refused, and no job that was told of is lost."""

import asyncio
import secrets
from collections.abc import Iterator

import pytest

from chaos.experiment import Experiment
from chaos.poster import Poster
from chaos.small_disk import SmallDisk
from servers import Servers


@pytest.fixture
def small_disk(servers: Servers) -> Iterator[SmallDisk]:
    """A PostgreSQL of its own, whose disk can be filled."""
    server = SmallDisk(servers.state / "stack-small-disk", secrets.token_hex(12))
    server.start()
    server.wait()
    yield server
    server.stop()
    server.remove_data()


async def test_on_a_full_disk_jobs_are_refused_and_not_lost_and_all_goes_on_once_there_is_room(
    start, servers: Servers, small_disk: SmallDisk
):
    database_url = small_disk.create_small_database("small")
    servers.migrate(database_url)
    experiment: Experiment = start(generators=2, database_url=database_url)
    await experiment.completes("first", within=60)
    await experiment.post(20, "before the disk is full")
    await asyncio.to_thread(small_disk.fill, "small")
    poster = Poster(experiment)
    await poster.is_refused()
    for _ in range(20):
        await poster.post()
    await asyncio.to_thread(small_disk.free, "small")
    await poster.accepted_again("room on PostgreSQL's disk")
    await experiment.all_is_well(seconds=150)
