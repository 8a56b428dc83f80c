"""procrastinate: the queue is a table of the same database; 50 tasks at a time in one process.

uvicorn procrastinate_app:api
procrastinate --app procrastinate_app.queue worker --concurrency 50
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from jobs_table import DATABASE_URL, create_app, work
from procrastinate import App, PsycopgConnector

from bench.starts import note_start

queue = App(connector=PsycopgConnector(conninfo=DATABASE_URL, min_size=4, max_size=20))


@queue.task(name="generate")
async def generate(job_id: str) -> None:
    """A provider that answers at once."""
    await work(job_id, note_start)


async def enqueue(job_id: str) -> None:
    """Inserts the task."""
    await generate.defer_async(job_id=job_id)


@asynccontextmanager
async def connected(_: FastAPI) -> AsyncIterator[None]:
    """The API has a second pool, of psycopg."""
    async with queue.open_async():
        yield


api = create_app(enqueue, connected)
