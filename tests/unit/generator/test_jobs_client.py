"""Reports to jobs: together, repeated until they are answered, and each with its own result."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
import structlog

from chassis import tracing
from generator.jobs_client import JobsClient
from generator_doubles import Jobs, serving_jobs
from mediagen.jobs.v1 import worker_pb2 as pb

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
async def client(jobs: Jobs) -> AsyncIterator[JobsClient]:
    async with serving_jobs(jobs) as made:
        yield made


def release(number: int) -> pb.Released:
    return pb.Released(job_id=f"job-{number}", epoch=number)


async def test_reports_of_one_moment_share_a_message_and_get_their_own_results(jobs: Jobs, client: JobsClient) -> None:
    jobs.answers["Release"] = lambda entry: pb.RESULT_STALE if entry.epoch % 2 else pb.RESULT_OK
    results = await asyncio.gather(*(client.release(release(number)) for number in range(10)))
    assert results == [pb.RESULT_OK, pb.RESULT_STALE] * 5
    assert len(jobs.calls) == 1


async def test_a_report_carries_the_token_and_the_ids_of_its_request(jobs: Jobs, client: JobsClient) -> None:
    tracing.receive(TRACEPARENT)
    with structlog.contextvars.bound_contextvars(request_id="the-request"):
        await client.release(release(1))
    tracing.receive(None)
    [(_, _, metadata)] = jobs.calls
    assert metadata["authorization"] == "Bearer token"
    assert (metadata["x-request-id"], metadata["traceparent"]) == ("the-request", TRACEPARENT)


@pytest.mark.parametrize("code", [grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAUTHENTICATED])
async def test_a_report_is_repeated_until_it_is_answered(jobs: Jobs, client: JobsClient, code: grpc.StatusCode) -> None:
    jobs.failing["Complete"] = [code] * 3
    assert await client.complete(pb.Completion(job_id="job-1")) == pb.RESULT_OK
    assert len(jobs.calls) == 1


async def test_a_report_that_is_wrong_in_itself_harms_no_other(jobs: Jobs, client: JobsClient) -> None:
    refused = [grpc.StatusCode.INVALID_ARGUMENT]  # the batch, and then the first of it
    jobs.failing["Release"] = refused * 2
    results = await asyncio.gather(*(client.release(release(number)) for number in range(3)), return_exceptions=True)
    assert isinstance(results[0], grpc.aio.AioRpcError)
    assert results[1:] == [pb.RESULT_OK, pb.RESULT_OK]


async def test_a_caller_that_is_cancelled_does_not_take_its_report_back(jobs: Jobs, client: JobsClient) -> None:
    reporting = asyncio.create_task(client.release(release(1)))
    await asyncio.sleep(0)
    reporting.cancel()
    assert await client.release(release(2)) == pb.RESULT_OK
    assert {entry.job_id for entry in jobs.entries("Release")} == {"job-1", "job-2"}


async def test_a_report_that_jobs_stumbles_over_holds_up_no_other(
    jobs: Jobs, client: JobsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generator.jobs_client.BROKEN_TRIES", 2)
    stumbled = asyncio.Event()

    def answer(entry: pb.Released) -> pb.Result.ValueType:
        if entry.epoch == 1:
            stumbled.set()
            raise RuntimeError("an odd row")
        return pb.RESULT_OK

    jobs.answers["Release"] = answer
    poison = asyncio.create_task(client.release(release(1)))
    beside = asyncio.create_task(client.release(release(2)))  # in the same message
    await stumbled.wait()
    async with asyncio.timeout(30):
        assert await client.release(release(3)) == pb.RESULT_OK
        assert await beside == pb.RESULT_OK
    assert not poison.done()  # it is repeated until jobs is mended
    jobs.answers["Release"] = lambda entry: pb.RESULT_STALE
    async with asyncio.timeout(30):
        assert await poison == pb.RESULT_STALE
