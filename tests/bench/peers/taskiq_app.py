"""taskiq on aio-pika: confirms, 200 tasks at a time in one process.

uvicorn taskiq_app:api
taskiq worker taskiq_app:queue --workers 1 --max-async-tasks 200
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from jobs_table import BROKER_URL, create_app, work
from taskiq_aio_pika import AioPikaBroker

from bench.starts import note_start

queue = AioPikaBroker(BROKER_URL, qos=200)


@queue.task
async def generate(job_id: str) -> None:
    """A provider that answers at once."""
    await work(job_id, note_start)


async def enqueue(job_id: str) -> None:
    """Publishes, and waits for the confirm."""
    await generate.kiq(job_id)


@asynccontextmanager
async def connected(_: FastAPI) -> AsyncIterator[None]:
    """The API publishes over one connection."""
    await queue.startup()
    yield
    await queue.shutdown()


api = create_app(enqueue, connected)
