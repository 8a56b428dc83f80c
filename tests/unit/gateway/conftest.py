"""The gateway on a real port, before a fake `jobs` on a real gRPC server and a fake S3."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
import httpx
import pytest_asyncio
from prometheus_client import REGISTRY

from chassis.channel import channel
from chassis.http import serving
from chassis.rpc import serving_grpc
from chassis.settings import HostPort
from gateway.api import create_app
from gateway.jobs_client import JobsClient
from gateway.object_store import ObjectStore
from mediagen.jobs.v1 import jobs_pb2_grpc
from ports import any_free_port
from signing import SECRET
from unit.gateway.fake_jobs import BEARER, FakeJobs, authenticate
from unit.gateway.fake_s3 import FakeS3
from waiting import until

MAX_BODY_BYTES = 262_144
OLD_SECRET = "whsec_dGhlIHNlY3JldCB0aGF0IHdhcyBiZWZvcmU="


@dataclass
class Gateway:
    """A running gateway, and what it stands on."""

    http: httpx.AsyncClient
    """A client with the key of the fake tenant."""
    nobody: httpx.AsyncClient
    """A client without a key."""
    port: int
    jobs: FakeJobs
    s3: FakeS3
    client: JobsClient
    store: ObjectStore
    complaint: str | None = None


@pytest_asyncio.fixture(scope="session")
async def session_gateway() -> AsyncIterator[Gateway]:
    jobs, s3 = FakeJobs(), FakeS3()
    grpc_at, s3_at, http_at = (HostPort("127.0.0.1", any_free_port()) for _ in range(3))
    async with AsyncExitStack() as stack:
        register = lambda server: jobs_pb2_grpc.add_JobsServiceServicer_to_server(jobs, server)  # noqa: E731
        stopping = asyncio.Event()
        await stack.enter_async_context(
            serving_grpc(
                grpc_at,
                ["mediagen.jobs.v1.JobsService"],
                register,
                authenticate,
                stopping,
                notice_seconds=0,
                drain_seconds=0.2,
            )
        )
        await stack.enter_async_context(s3.serving(s3_at))
        jobs_channel = await stack.enter_async_context(channel(grpc_at))
        session = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
        store = ObjectStore(
            session, endpoint=f"http://{s3_at}", region="us-east-1", access_key="key", secret_key="secret", bucket="media"
        )
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://{http_at}", headers=BEARER))
        nobody = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://{http_at}"))
        running = Gateway(
            http=http, nobody=nobody, port=http_at.port, jobs=jobs, s3=s3, client=JobsClient(jobs_channel), store=store
        )
        app = create_app(
            jobs=running.client,
            store=store,
            ready=lambda: running.complaint,
            max_body_bytes=MAX_BODY_BYTES,
            cors_origins=("https://app.example.com",),
            webhook_secrets=(OLD_SECRET, SECRET),
        )
        await stack.enter_async_context(serving(app, http_at, notice_seconds=0, drain_seconds=1))
        yield running


@pytest_asyncio.fixture
async def gateway(session_gateway: Gateway) -> AsyncIterator[Gateway]:
    """The gateway, before a `jobs` and an S3 that know nothing yet; no request outlives its test."""
    session_gateway.jobs.reset()
    session_gateway.s3.reset()
    session_gateway.complaint = None
    yield session_gateway
    await until(lambda: not REGISTRY.get_sample_value("mediagen_http_requests_in_flight"))


@pytest_asyncio.fixture
async def plain_gateway(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway as it is with none but the settings that it needs."""
    app = create_app(jobs=gateway.client, store=gateway.store, ready=lambda: None, max_body_bytes=MAX_BODY_BYTES)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        yield client
