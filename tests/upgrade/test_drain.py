"""SIGTERM on each service under load: no request fails, nothing is paid twice, and the process ends by itself within its grace."""

import asyncio
import hashlib
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio

from chassis.channel import channel
from chassis.settings import HostPort
from history.collect import ledger
from mediagen.jobs.v1 import jobs_pb2, jobs_pb2_grpc
from servers import Servers
from stack import Stack
from upgrade.fleet import GATEWAYS, JOBS, Fleet
from upgrade.load import Load
from waiting import until

pytestmark = [pytest.mark.alone, pytest.mark.timeout(900)]

PREDICT_SECONDS = 12
"""Jobs outlive the instance that they were accepted, watched or worked on by."""

BIG = 24 * 1024 * 1024
"""Bytes of a file that does not fit into the buffers between S3 and a reader."""

HELD_SECONDS = 15.0
"""Within this a drained generator's predictions have to be in other hands: half of a lease."""

FINAL = {jobs_pb2.JOB_STATUS_COMPLETED, jobs_pb2.JOB_STATUS_FAILED, jobs_pb2.JOB_STATUS_CANCELED}


@pytest_asyncio.fixture(scope="module")
async def fleet(servers: Servers) -> AsyncIterator[Fleet]:
    """One fleet for all tests here; each leaves it whole."""
    with servers.database(servers.template) as database_url, servers.vhost() as amqp_url:
        state, bucket = servers.state / "stack-drain", servers.bucket()
        running = Fleet.wired(
            lambda wired: Stack(state, servers, database_url, amqp_url, bucket, wired),
            SIMULATOR_PREDICT_SECONDS=str(PREDICT_SECONDS),
        )
        try:
            await running.start()
            yield running
        finally:
            await running.aclose()


@asynccontextmanager
async def under_load(fleet: Fleet) -> AsyncIterator[None]:
    """What happens here happens under load, fails no request, and leaves a history in which every promise was kept."""
    load = Load(fleet.recorder)
    async with load.running():
        yield
    print(load.summary())
    load.check()
    await fleet.check_history()


async def watch(fleet: Fleet, job_id: str) -> tuple[list[int], int]:
    """Follows a job as a client of gRPC does: the versions that it saw, and how often it had to watch again."""
    versions, breaks = [0], 0
    key = (("authorization", f"Bearer {fleet.stack.api_key}"),)
    async with channel(HostPort("127.0.0.1", fleet.jobs_port)) as connection:
        stub = jobs_pb2_grpc.JobsServiceStub(connection)
        while True:
            request = jobs_pb2.WatchJobRequest(job_id=job_id, after_version=versions[-1])
            try:
                async for seen in stub.WatchJob(request, timeout=60, metadata=key, wait_for_ready=True):
                    versions.append(seen.job.version)
                    if seen.job.status in FINAL:
                        return versions, breaks
            except grpc.aio.AioRpcError as error:  # both are what docs/upgrades.md asks clients to repeat
                assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED), error
                breaks += 1


async def test_sigterm_on_jobs_fails_no_request_and_its_watches_go_on_elsewhere(fleet: Fleet):
    async with under_load(fleet):
        watches = [asyncio.create_task(watch(fleet, await fleet.recorder.post(f"watched {n}"))) for n in range(4)]
        for name in JOBS:
            (await fleet.end(name)).check()
            await fleet.begin(name)
        seen = await asyncio.gather(*watches)
    assert sum(breaks for _, breaks in seen) >= 2, "no watch was open where jobs ended"
    for versions, _ in seen:
        assert versions == sorted(set(versions))


class SlowReader:
    """Reads a file of one certain gateway no faster than it likes."""

    def __init__(self, fleet: Fleet, gateway: str, path: str) -> None:
        self._url = f"http://127.0.0.1:{fleet.port(gateway)}{path}"
        self._key = {"Authorization": f"Bearer {fleet.stack.api_key}"}
        self.body = bytearray()

    async def read(self, bytes_per_second: float, skip: int = 0) -> None:
        """Reads what comes after the first `skip` bytes, to the end; raises ClientPayloadError where it is cut off before."""
        headers = {**self._key, "Range": f"bytes={skip}-"}
        connector = aiohttp.TCPConnector(socket_factory=_narrow)
        async with (
            aiohttp.ClientSession(connector=connector, read_bufsize=2**16) as http,
            http.get(self._url, headers=headers) as answer,
        ):
            assert answer.status == 206
            began = time.monotonic()
            async for chunk in answer.content.iter_chunked(2**16):
                self.body += chunk
                await asyncio.sleep(began + len(self.body) / bytes_per_second - time.monotonic())


def _narrow(address: Any) -> socket.socket:
    """A socket whose buffer holds little, so that the sender notices how slow its reader is."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
    made.setblocking(False)
    return made


async def big_file(fleet: Fleet) -> tuple[str, str]:
    """The path and the sha256 of an output of BIG bytes."""
    await fleet.faults({"effect": "file_big", "size": BIG, "when": {"prompt": "a big one"}})
    job_id = await fleet.recorder.post("a big one")
    await fleet.recorder.all_finished(60)
    job = await fleet.recorder.job(job_id)
    assert job is not None and job["status"] == "completed"
    return f"/api/v1/images/{job_id}/0", job["outputs"][0]["sha256"]


async def test_sigterm_on_gateways_fails_no_request_and_downloads_end_or_go_on_elsewhere(fleet: Fleet):
    path, sha256 = await big_file(fleet)
    async with under_load(fleet):
        brief = SlowReader(fleet, GATEWAYS[0], path)
        reading = asyncio.create_task(brief.read(BIG / 6))
        await until(lambda: len(brief.body) > 0, what="the download has begun")
        (await fleet.end(GATEWAYS[0])).check()
        await reading
        await fleet.begin(GATEWAYS[0])

        long = SlowReader(fleet, GATEWAYS[1], path)  # longer than the drain
        reading = asyncio.create_task(long.read(BIG / 40))
        await until(lambda: len(long.body) > 0, what="the download has begun")
        (await fleet.end(GATEWAYS[1])).check()
        with pytest.raises(aiohttp.ClientPayloadError):
            await reading
        rest = SlowReader(fleet, GATEWAYS[0], path)
        await rest.read(BIG, skip=len(long.body))
        await fleet.begin(GATEWAYS[1])
    assert 0 < len(rest.body) < BIG
    for body in (brief.body, long.body + rest.body):
        assert hashlib.sha256(body).hexdigest() == sha256


def jobs_of(log: str, *events: str) -> set[str]:
    """The jobs of which a service's log tells one of these events."""
    lines = [json.loads(line) for line in log.splitlines() if any(f'"{event}"' in line for event in events)]
    return {line["job_id"] for line in lines}


async def creates_since(fleet: Fleet, before: int, creates: int) -> bool:
    return (await ledger(fleet.stack))["creates"] >= before + creates


async def test_sigterm_on_a_generator_records_its_creates_and_hands_its_predictions_over_at_once(fleet: Fleet):
    async with under_load(fleet):
        await fleet.faults({"effect": "create_late", "seconds": 3})
        before = (await ledger(fleet.stack))["creates"]
        await asyncio.gather(*[fleet.recorder.post(f"late {n}") for n in range(40)])
        await until(lambda: creates_since(fleet, before, 40), 20, what="the creates are under way")
        name, other = "generator-1", "generator-2"
        began = len(fleet.stack.log(other))
        (await fleet.end(name)).check()
        ended = time.monotonic()
        await fleet.faults()
        log = fleet.stack.log(name)
        assert "create.unknown" not in log
        # One whose completion and heartbeat crossed is told to be lost: that it is complete was committed in between.
        held = len(jobs_of(log, "prediction.created") - jobs_of(log, "job.completed", "job.failed", "job.lost"))
        assert held > 5, "it had nothing to hand over"
        await until(
            lambda: fleet.stack.log(other)[began:].count("MODE_ATTACH") >= held, HELD_SECONDS, what=f"{held} are attached to"
        )
        print(f"{held} predictions were in other hands {time.monotonic() - ended:.1f} s after the generator's end")
        await fleet.begin(name)
    assert (await ledger(fleet.stack))["creates"] == len(fleet.recorder.accepted)
