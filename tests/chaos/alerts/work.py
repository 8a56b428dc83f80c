"""What Replicate, and the system's own processes, do to jobs."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import orjson

import processes
from chaos.alerts.cause import causes
from chaos.alerts.dependencies import GENERATORS
from chaos.alerts.watched import Watched
from chassis.failpoints import VARIABLE
from part import Part
from waiting import until

JOBS_OF_A_HIGH_BILL = 115
"""More than the hundred of which the rule begins to judge."""

FAILED_JOBS = 25
PROMPTS = 60
"""How many jobs are posted at most until a certain generator takes one."""


def refused(answer: str) -> dict[str, Any]:
    """Every create is refused."""
    return {"effect": "create_answer", "answer": answer}


def read(answer: str, call: str, probability: float = 1) -> dict[str, Any]:
    """Reads of a kind are refused, or some of them."""
    return {"effect": "read_answer", "answer": answer, "calls": [call], "probability": probability, "retry_after": 1}


@causes("MediagenReplicatePaused critical", "MediagenBacklogAgeHigh warning")
async def the_account_has_no_credit(system: Watched) -> AsyncIterator[None]:
    """A 402; jobs are accepted and wait."""
    async with system.faults(refused("insufficient_credit")):
        await system.experiment.post(4, "unpaid")
        yield
    await end_pause(system)


@causes("MediagenReplicateAuthFailing critical")
async def the_token_is_revoked(system: Watched) -> AsyncIterator[None]:
    """A 401, of the account too."""
    async with system.faults(refused("unauthenticated"), read("unauthenticated", "other")):
        await system.experiment.post(2, "with a token that is revoked")
        yield
    await end_pause(system)


@causes("MediagenReplicateRateLimited warning", "MediagenReplicateErrors warning", "MediagenOutcomeUnknown warning")
async def replicate_falters(system: Watched) -> AsyncIterator[None]:
    """Reads are refused with 429 and 503, and a create loses its connection: what came of it cannot be looked up."""
    lost = {"effect": "create_reset", "accepted": False, "when": {"prompt": "[lost]"}}
    reads = (read("service_unavailable", "list", 0.9), read("throttled", "get", 0.3), read("service_unavailable", "get", 0.5))
    async with system.faults(lost, *reads), system.unfinished("polled"):
        await system.experiment.post(1, "[lost]")
        yield


@causes("MediagenJobsStuck warning", "MediagenJobsStuck critical")
async def a_prediction_does_not_end(system: Watched) -> AsyncIterator[None]:
    """It stays within its own limit, which is the protocol's."""
    async with system.unfinished("stuck"):
        yield


@causes("MediagenJobsFailing warning", "MediagenOutputExpired critical")
async def outputs_are_gone(system: Watched) -> AsyncIterator[None]:
    """Before they are stored."""
    async with system.faults({"effect": "file_answer", "status": 404, "when": {"prompt": "[expired]"}}):
        await system.experiment.post(FAILED_JOBS, "[expired]")
        yield


@causes("MediagenCreatesPerJobHigh warning")
async def predictions_are_aborted(system: Watched) -> AsyncIterator[None]:
    """One in four, and made again."""
    aborted = {"effect": "prediction_ends", "status": "aborted", "probability": 0.25, "when": {"prompt": "[again]"}}
    async with system.faults(aborted):
        await system.experiment.post(JOBS_OF_A_HIGH_BILL, "[again]")
        yield


@causes("MediagenOrphanPredictions warning")
async def a_generator_freezes_before_it_tells_of_a_prediction(system: Watched) -> AsyncIterator[None]:
    """For longer than a create may be on its way; and the list does not show what it made."""
    async with system.faults({"effect": "list_lag", "seconds": 80}), AsyncExitStack() as kept:
        await frozen(system, kept, 3, "generator.create.answered")
        yield


@causes("MediagenStaleReports info")
async def a_generator_freezes_before_it_tells_of_an_end(system: Watched) -> AsyncIterator[None]:
    """For longer than its lease: another one has ended the job when it goes on."""
    async with AsyncExitStack() as kept:
        await frozen(system, kept, 4, "generator.job.stored")
        yield


@causes("MediagenNoGenerators critical", "MediagenTargetDown warning", "MediagenTargetDown critical")
async def generators_die_and_the_gateway_is_taken_away(system: Watched) -> AsyncIterator[None]:
    """The generators' containers stay, and answer nothing; of the gateway there is no pod any more."""
    await system.experiment.post(1, "for nobody")
    for name in GENERATORS:
        system.stack.kill(name)
    await asyncio.to_thread(system.stack.stop, "gateway")
    system.watch.lose("gateway")
    try:
        yield
    finally:
        for name in (*GENERATORS, "gateway"):
            system.stack.parts[name].start()
        for name in (*GENERATORS, "gateway"):
            await asyncio.to_thread(system.stack.parts[name].wait)


async def end_pause(system: Watched) -> None:
    """The lane tries creates again now: each pause is twice as long as the one before, and what comes next needs no waiting."""
    async with system.database() as database:
        await database.execute("UPDATE lanes SET paused_until = NULL, pauses = 0")


async def frozen(system: Watched, kept: AsyncExitStack, number: int, failpoint: str) -> None:
    """One more generator freezes at a failpoint with a job in hand, until others have ended that job; then it goes on.

    It ends with `kept`. Prometheus does not know it.
    """
    part = system.stack.services.generator(number)
    part.environment[VARIABLE] = f"{failpoint}=stop"
    kept.push_async_callback(asyncio.to_thread, part.stop)
    part.start()
    await asyncio.to_thread(part.wait)
    kept.callback(go_on, part)
    for posted in range(PROMPTS):
        if reached(part):
            break
        await system.experiment.post(1, f"for {part.name} to take, {posted}")
        with contextlib.suppress(AssertionError):
            await until(lambda: reached(part), 0.5)
    job_id = await until(lambda: reached(part), 20, what=f"{part.name} to freeze")
    async with system.database() as database:
        ended = "SELECT finished_at IS NOT NULL FROM jobs WHERE id = $1::text::uuid"
        await until(lambda: database.fetchval(ended, job_id), 60, what=f"the end of {job_id} elsewhere")
    go_on(part)


def go_on(part: Part) -> None:
    """The process works again, if it was frozen."""
    if (pid := part.pid()) is not None:
        processes.send(pid, signal.SIGCONT)


def reached(part: Part) -> str:
    """The job that the part froze with, if it has."""
    lines = [orjson.loads(line) for line in part.log_file.read_bytes().splitlines() if b'"event":"failpoint.reached"' in line]
    return lines[-1]["job_id"] if lines else ""
