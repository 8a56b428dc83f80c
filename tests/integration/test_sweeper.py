"""What time has ended is told as reports are: a log line and a span of each job, by its own ids."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from chassis import tracing
from chassis.settings import TracingSettings
from driver import Driver, driving
from jobs.bell import Bell
from jobs.relay import Relay
from jobs.states import State
from jobs.sweeper import sweep
from otlp import collecting
from waiting import until

SPAN = "b7ad6b7169203331"


@pytest.fixture
async def driver(postgres_url: str) -> AsyncIterator[Driver]:
    async with driving(postgres_url) as started:
        yield started


@contextlib.asynccontextmanager
async def sweeping(driver: Driver) -> AsyncIterator[list[Any]]:
    """The sweeper at work, and the lines that it has written about jobs."""
    relay = Relay(driver.store, Bell("amqp://nobody:nothing@127.0.0.1:1/none"), interval=60)
    with capture_logs() as lines:
        task = asyncio.create_task(sweep(driver.store, relay, 0.05))
        try:
            yield lines
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def ended_by_time(driver: Driver, verb: str, trace_id: str) -> UUID:
    """A job of that trace that the sweeper is to end by this verb."""
    traceparent = f"00-{trace_id}-{SPAN}-01"
    if verb == "expire":
        job_id = await driver.reach(State.SUBMITTED, traceparent=traceparent)
        await driver.set(job_id, "lease_until = now() - interval '1 s'")
    elif verb == "give_up":
        job_id = await driver.add(traceparent=traceparent)
        await driver.set(job_id, "deadline_at = now() - interval '1 s'")
    else:
        job_id = await driver.reach(State.UNKNOWN, traceparent=traceparent)
        await driver.set(job_id, "unknown_since = now() - interval '1 d'")
    return job_id


@pytest.mark.parametrize(
    ("verb", "state", "error_code", "held"),
    [
        ("expire", "submitted", None, True),
        ("give_up", "failed", "deadline_exceeded", False),
        ("outcome_unknown", "failed", "outcome_unknown", True),
    ],
)
async def test_what_the_sweeper_ends_is_in_the_log_and_in_the_trace_of_its_job(
    driver: Driver, verb: str, state: str, error_code: str | None, held: bool
) -> None:
    trace_id = secrets.token_hex(16)
    async with collecting() as collector:
        settings = TracingSettings.model_validate({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint})
        job_id = await ended_by_time(driver, verb, trace_id)
        async with tracing.exporting_traces("tester", settings), sweeping(driver) as lines:
            await until(lambda: [line for line in lines if line["event"] == "job.swept"], 20, what="a line of the sweeper")
    [line], [span] = [line for line in lines if line["event"] == "job.swept"], collector.of(trace_id)
    ids = (line["job_id"], line["request_id"], line["trace_id"], line["verb"])
    assert ids == (str(job_id), "req-1", trace_id, verb)
    assert (span.name, span.parent_id, span.attributes["mediagen.job_id"]) == (f"{verb} job", SPAN, str(job_id))
    assert (line["state"], line["error_code"], span.failed) == (state, error_code, error_code)
    assert line["worker_id"] == span.attributes.get("mediagen.worker_id") == (str(driver.worker) if held else None)
