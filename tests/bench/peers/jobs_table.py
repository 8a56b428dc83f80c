"""What all peers share: the first design's table and its API, so that they differ in nothing but how work reaches a worker.

FastAPI with models in and out; an insert through SQLAlchemy's session on asyncpg, a pool of 20 without overflow; then the queue.
Nothing of the promises: no outbox, no idempotency key, no history, no API key, no lease.
"""

import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict
from sqlalchemy import JSON, DateTime, String, Text, create_engine, func
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

DATABASE_URL = os.environ["BENCH_DATABASE_URL"]
BROKER_URL = os.environ.get("BENCH_BROKER_URL", "")


class Base(DeclarativeBase):
    """As SQLAlchemy wants it."""


class Job(Base):
    """The first design's row."""

    __tablename__ = "jobs"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    prompt: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(String(255))
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(20), default="pending", index=True)
    retry_count: Mapped[int] = mapped_column(default=0)
    media_path: Mapped[str | None] = mapped_column(Text)
    error_message: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now(), index=True)
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now(), onupdate=func.now())


class GenerateRequest(BaseModel):
    """What is posted."""

    prompt: str
    model: str = "black-forest-labs/flux-schnell"
    parameters: dict[str, Any] = {}


class JobView(BaseModel):
    """What is answered."""

    model_config = ConfigDict(from_attributes=True)
    id: uuid.UUID
    status: str
    prompt: str
    model: str
    parameters: dict[str, Any]
    retry_count: int
    media_path: str | None = None
    error_message: str | None = None


engine = create_async_engine(
    DATABASE_URL.replace("postgresql://", "postgresql+asyncpg://"), pool_size=20, max_overflow=0, pool_timeout=30
)
sessions = async_sessionmaker(engine, expire_on_commit=False)


async def _session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


def create_app(
    enqueue: Callable[[str], Awaitable[None]], lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None
) -> FastAPI:
    """The API; `enqueue` hands a committed job to the queue."""
    app = FastAPI(lifespan=lifespan)

    @app.post("/api/v1/generate", status_code=202)
    async def generate(request: GenerateRequest, session: Annotated[AsyncSession, Depends(_session)]) -> JobView:
        job = Job(prompt=request.prompt, model=request.model, parameters=request.parameters)
        session.add(job)
        await session.commit()
        await enqueue(str(job.id))
        return JobView.model_validate(job)

    @app.get("/api/v1/status/{job_id}")
    async def status(job_id: uuid.UUID, session: Annotated[AsyncSession, Depends(_session)]) -> JobView:
        job = await session.get(Job, job_id)
        if job is None:
            raise HTTPException(404)
        return JobView.model_validate(job)

    return app


async def work(job_id: str, started: Callable[[str], None]) -> None:
    """What a worker on a loop does: the row is read and written twice, and nothing else."""
    async with sessions() as session:
        job = await session.get_one(Job, uuid.UUID(job_id))
        started(job.prompt)
        job.status = "processing"
        await session.commit()
    async with sessions() as session:
        job = await session.get_one(Job, uuid.UUID(job_id))
        job.status, job.media_path = "completed", f"out/{job_id}.png"
        await session.commit()


if __name__ == "__main__":
    Base.metadata.create_all(create_engine(DATABASE_URL.replace("postgresql://", "postgresql+psycopg2://")))
