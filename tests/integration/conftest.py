"""What several of these tests stand on."""

from collections.abc import AsyncIterator

import pytest_asyncio

from integration.test_jobs_service import Service, running


@pytest_asyncio.fixture
async def service(postgres_url: str) -> AsyncIterator[Service]:
    """The service jobs in this process, on a fresh database."""
    async with running(postgres_url) as started:
        yield started
