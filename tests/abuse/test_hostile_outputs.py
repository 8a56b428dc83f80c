"""Hostile outputs through the whole system: what a model returns may fail its job, and nothing else."""

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest_asyncio

from abuse.hostile_urls import CANARY
from abuse.polyglots import REFUSED, STORED
from client import Client
from gateway.media import SHOWN
from stack import Stack


class Canaries(NamedTuple):
    """Listeners on this machine, on the same port of several addresses, that nobody may reach."""

    port: int
    alarms: list[str]


@pytest_asyncio.fixture
async def canaries() -> AsyncIterator[Canaries]:
    alarms: list[str] = []

    async def alarm(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        alarms.append(str(writer.get_extra_info("sockname")))
        writer.close()

    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(await asyncio.start_server(alarm, "127.0.0.1", 0))
        port = int(first.sockets[0].getsockname()[1])
        for host in (CANARY, "::1"):
            with contextlib.suppress(OSError):  # a machine without IPv6
                await stack.enter_async_context(await asyncio.start_server(alarm, host, port))
        yield Canaries(port, alarms)


@pytest_asyncio.fixture
async def client(system: Stack) -> AsyncIterator[Client]:
    made = Client(system)
    yield made
    await made.faults()
    await made.http.aclose()


def returns(marker: str, output: Any) -> dict[str, Any]:
    """A rule: predictions whose prompt holds the marker succeed with this output."""
    return {"effect": "prediction_output", "shape": "json", "value": output, "when": {"prompt": marker}}


async def the_generator_goes_on(system: Stack, client: Client, pid: int | None) -> None:
    await client.faults()
    assert (await client.finished(await client.post("a fox, as ever"), 60))["status"] == "completed"
    assert system.pid("generator-1") == pid
    log = system.log("generator-1")
    assert "job.crashed" not in log and "Traceback" not in log


async def test_outputs_that_lead_elsewhere_fail_their_jobs_with_a_code_and_are_fetched_from_nowhere(
    system: Stack, client: Client, canaries: Canaries
) -> None:
    pid, port = system.pid("generator-1"), canaries.port
    forbidden = [
        f"http://127.0.0.1:{port}/",
        f"http://{CANARY}:{port}/",
        f"http://[::1]:{port}/",
        f"http://[::ffff:127.0.0.1]:{port}/",
        f"http://2130706433:{port}/",
        f"http://0x7f.1:{port}/",
        f"http://127.0.0.1.:{port}/",
        f"http://localhost:{port}/",
        f"http://user:password@127.0.0.1:{port}/",
        f"http://127.0.0.1:{port}\\@replicate.delivery/",
        f"http://[::1%25lo]:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[v1.fe80::a+en1]:1/",
        "https://xn--replcate-uoa.delivery/",
        "https://a..replicate.delivery/",
        system.gateway_url + "/openapi.json",
        system.simulator_url + "/control/ledger",
    ]
    kept_as_text = [
        "file:///etc/passwd",
        f"gopher://127.0.0.1:{port}/_x",
        f"//127.0.0.1:{port}/",
        f"http://127.0.0.1:{port}/ HTTP/1.1\r\n",
    ]
    hidden = {"a": [{"b": f"http://{CANARY}:{port}/"}, "https://127.0.0.1/", None], "caption": "a fox"}
    outputs = [*forbidden, *kept_as_text, hidden]
    rules = [returns(f"[output {number}]", output) for number, output in enumerate(outputs)]
    leads_on = [
        f"http://127.0.0.1:{port}/",
        f"http://{CANARY}:{port}/",
        f"//[::1]:{port}/",
        "file:///etc/passwd",
        "http://[v1.a:b]:1/",
    ]
    leads_on += [system.simulator_url + "/control/ledger", "https://xn--replcate-uoa.delivery/"]
    rules += [
        {"effect": "file_redirect", "to": to, "status": 307, "when": {"prompt": f"[redirect {number}]"}}
        for number, to in enumerate(leads_on)
    ]
    await client.faults(*rules)
    sent = await client.post_many([f"[output {number}]" for number in range(len(outputs))])
    led_on = await client.post_many([f"[redirect {number}]" for number in range(len(leads_on))])
    for job_id, output in [*zip(sent, outputs, strict=True), *zip(led_on, leads_on, strict=True)]:
        job = await client.finished(job_id, 120)
        if job_id in sent and output in kept_as_text:
            assert (job["status"], [kept["value"] for kept in job["outputs"]]) == ("completed", [output])
            assert job["media_url"] is None
        else:
            assert (job["status"], job["error_code"]) == ("failed", "output_forbidden_address"), (output, job)
            assert [kept for kept in job["outputs"] if kept["url"]] == []
    assert canaries.alarms == []
    await the_generator_goes_on(system, client, pid)


async def test_whatever_is_stored_is_served_as_what_it_is_and_never_as_something_that_runs(system: Stack, client: Client) -> None:
    """Every polyglot in one output, each under a wrong name: data: URIs say text/html of all of them."""
    pid = system.pid("generator-1")
    files = [*((None, content) for content in REFUSED.values() if content), *STORED.values()]
    said = ["text/html", "image/svg+xml", "application/javascript", "image/png", "text/html;charset=utf-16"]
    uris = [
        f"data:{said[number % len(said)]};base64,{base64.b64encode(content).decode()}" for number, (_, content) in enumerate(files)
    ]
    await client.faults(returns("[polyglots]", uris))
    job = await client.finished(await client.post("[polyglots]"), 120)
    assert (job["status"], job["error_code"]) == ("failed", "output_not_media")
    kept = {output["index"]: output for output in job["outputs"]}
    for index, (kind, content) in enumerate(files):
        if kind is None:
            assert index not in kept
            refused = await client.http.get(f"/api/v1/images/{job['id']}/{index}")
            assert (refused.status_code, refused.headers["content-type"]) == (404, "application/problem+json")
            continue
        assert kept[index]["content_type"] == kind
        for url in (kept[index]["url"], f"/api/v1/images/{job['id']}/{index}"):
            for accept in ("*/*", "text/html"):
                answer = await client.http.get(url, headers={"accept": accept})
                assert answer.status_code == 200
                assert hashlib.sha256(answer.content).hexdigest() == hashlib.sha256(content).hexdigest()
                is_harmless(answer.headers, kind)
        part = await client.http.get(kept[index]["url"], headers={"range": "bytes=1-"})
        assert part.status_code in (206, 416)
        if part.status_code == 206:
            is_harmless(part.headers, kind)
        is_harmless((await client.http.head(kept[index]["url"])).headers, kind)
    assert len(kept) == len(STORED)
    await the_generator_goes_on(system, client, pid)


def is_harmless(headers: Any, kind: str) -> None:
    """What keeps a browser from running anything of a file, whatever is in it."""
    assert headers["content-type"] == kind
    assert headers["x-content-type-options"] == "nosniff"
    policy = [directive.strip() for directive in headers["content-security-policy"].split(";")]
    assert "sandbox" in policy and "default-src 'none'" in policy
    disposition = headers["content-disposition"]
    assert disposition.startswith("inline; " if kind in SHOWN else "attachment; ")
    assert disposition.split("filename=")[1].strip('"').rsplit(".", 1)[1] not in ("html", "htm", "svg", "js", "xml", "xhtml")
