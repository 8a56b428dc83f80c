"""Replicate's own Python client (1.0.7): what it does wrong, and why no service of ours talks through it.

Where one of these fails after an upgrade, the client has changed: read its changes, and think again about whether it could take the
place of `generator/replicate_api.py`. Nothing of ours breaks by it: the client is used in tests only, as a judge of the simulator.
"""

import asyncio
import contextlib
import importlib.metadata
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import replicate
from aiohttp import web
from replicate.exceptions import ReplicateError

from generator.outcomes import Created, Refused, Unknown
from generator.replicate_api import TERMINAL, ReadFailed, ReplicateApi, replicate_api
from traps.stub import Stub, prediction, silence, stub
from waiting import until

SERVICES = Path(__file__).resolve().parents[2] / "services"

BOUND = 1.0
"""The timeout, in seconds, that the clients of these tests are given."""


@contextlib.asynccontextmanager
async def client(at: Stub) -> AsyncIterator[replicate.Client]:
    made = replicate.Client(api_token="any", base_url=at.url, timeout=httpx.Timeout(BOUND))
    try:
        yield made
    finally:
        await made._async_client.aclose()


async def create(api: ReplicateApi, timeout: float = BOUND) -> Created | Refused | Unknown:
    return await api.create("owner/name", '{"prompt": "a fox"}', cancel_after=60, timeout=timeout)


async def test_r1_a_create_of_the_client_has_no_timeout_at_all_and_ours_has() -> None:
    """The client passes `timeout=None` with a create, which disables the timeout that it was built with.

    Ours sends creates with a total timeout, and what it does not hear in time is unknown, to be looked up. Where this fails because
    the client's create ends, its bound has come to be respected; where because ours hangs, money hangs: see `ReplicateApi.create`.
    """
    async with stub(silence) as at, client(at) as theirs:
        with pytest.raises(httpx.ReadTimeout):
            await theirs.predictions.async_get("p1")
        hanging = asyncio.create_task(theirs.predictions.async_create(version="v", input={}))
        await until(lambda: at.asked("POST") == 1)
        ended, _ = await asyncio.wait({hanging}, timeout=3 * BOUND)
        assert not ended, "the client's create respects its timeout now"
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)

        async with asyncio.timeout(10 * BOUND), replicate_api(at.url, None) as ours:
            assert isinstance(await create(ours), Unknown)


async def test_r2_run_asks_the_server_to_hold_its_answer_back_and_ours_never_does() -> None:
    """`run` sends `Prefer: wait`: the id of what is paid for is unknown until the model ends, up to a minute instead of a moment.

    Ours sends no Prefer. Where this fails because the client's header is gone, `run` no longer widens the time of an unknown
    outcome.
    """
    async with stub(prediction(201, status="succeeded", output="text")) as at, client(at) as theirs:
        await theirs.async_run("owner/name", input={})
        assert at.requests[-1].headers["Prefer"] == "wait"
        async with replicate_api(at.url, None) as ours:
            assert isinstance(await create(ours), Created)
        assert "Prefer" not in at.requests[-1].headers
        assert at.asked("POST") == 2


async def test_r3_run_takes_a_prediction_that_goes_on_for_finished_and_drops_what_was_paid() -> None:
    """After a create that waited, `run` takes every status but `starting` for the end: `processing` gives None, and nothing is
    read.

    Ours follows whatever is not in TERMINAL. Where this fails because a result came, or a GET did, the client polls on now.
    """
    async with stub(prediction(201, status="processing")) as at, client(at) as theirs:
        assert await theirs.async_run("owner/name", input={}) is None
        assert (at.asked("POST"), at.asked("GET")) == (1, 0)
    assert "processing" not in TERMINAL


async def test_r4_a_status_that_the_client_does_not_know_is_an_exception_and_ours_reads_it() -> None:
    """`aborted`, which Replicate has sent since predictions have deadlines, fails the client's validation: its id and end are lost.

    Ours reads JSON and takes only the four statuses of TERMINAL for an end. Where this fails because nothing was raised, the client
    knows the status now, or no longer refuses what it does not know.
    """
    for status in ("aborted", "something new"):
        async with stub(prediction(200, status=status)) as at, client(at) as theirs:
            with pytest.raises(ValueError, match="status"):
                await theirs.predictions.async_get("p1")
            async with replicate_api(at.url, None) as ours:
                assert (await ours.get("p1"))["status"] == status
    assert "aborted" in TERMINAL and "something new" not in TERMINAL


async def test_r5_the_client_sleeps_inside_a_read_for_as_long_as_the_server_says() -> None:
    """A GET that is answered with 429, 503 or 504 sleeps inside the transport for the whole of Retry-After, beyond every timeout.

    Ours reports a read that failed at once, with what was asked for, capped: the poller plans its own rest. Where this fails
    because the client's read ended, its retries have changed.
    """

    async def throttled(_: web.Request) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": "3600"})

    async with stub(throttled) as at, client(at) as theirs:
        reading = asyncio.create_task(theirs.predictions.async_get("p1"))
        await until(lambda: at.asked("GET") == 1)
        ended, _ = await asyncio.wait({reading}, timeout=3 * BOUND)
        assert not ended, "the client's read does not sleep out Retry-After any more"
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        async with asyncio.timeout(10 * BOUND), replicate_api(at.url, None) as ours:
            with pytest.raises(ReadFailed) as failed:
                await ours.get("p1")
        assert 0 < failed.value.retry_after_seconds <= 120
        assert at.asked("GET") == 2


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
async def test_r6_a_create_is_posted_once_whatever_the_answer(status: int) -> None:
    """Version 2 of the client repeats a POST on each of these by default, without an idempotency key: each may be paid twice.

    Version 1 does not, and neither does ours: one intent, one POST. Where this fails, somebody pays twice: for ours see
    `ReplicateApi.create`; where it is the client's, a version 2 came in, which must get `max_retries=0` wherever it is used.
    """

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"detail": "no"}, status=status, headers={"Retry-After": "0"})

    assert importlib.metadata.version("replicate").startswith("1.")
    async with stub(answer) as at, client(at) as theirs:
        with pytest.raises(ReplicateError):
            await theirs.predictions.async_create(version="v", input={})
        assert at.asked("POST") == 1
        async with replicate_api(at.url, None) as ours:
            assert not isinstance(await create(ours), Created)
        assert at.asked("POST") == 2


async def test_r6_a_create_whose_connection_breaks_is_posted_once() -> None:
    """As above, where the connection is reset after the POST was read: also by aiohttp, which repeats what it takes for idempotent.

    Where ours posts twice, aiohttp has begun to repeat POSTs on a reused connection that was closed: creates need a session without
    keep-alive then.
    """

    async def answered_and_reset(request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"results": [], "next": None})

    async with stub(answered_and_reset) as at, replicate_api(at.url, None) as ours:
        assert isinstance(await create(ours), Unknown)
        assert at.asked("POST") == 1
    posts = 0

    async def kept_then_reset(request: web.Request) -> web.StreamResponse:
        nonlocal posts
        posts += 1
        if posts == 2:  # on the connection that the first one left open
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"id": "p1", "status": "starting"}, status=201)

    async with stub(kept_then_reset) as at, replicate_api(at.url, None) as ours:
        assert isinstance(await create(ours), Created)
        assert isinstance(await create(ours), Unknown)
        assert posts == 2


def test_no_service_speaks_through_the_client_or_the_library_that_it_stands_on() -> None:
    """All of the above, and R13, are of no harm only as long as this holds. A module that needs one of them needs a guard first."""
    imports = re.compile(r"^\s*(?:import|from)\s+(replicate|httpx|httpcore)\b", re.MULTILINE)
    modules = list(SERVICES.rglob("*.py"))
    assert len(modules) > 50
    assert {module.name: imports.findall(module.read_text()) for module in modules if imports.search(module.read_text())} == {}
