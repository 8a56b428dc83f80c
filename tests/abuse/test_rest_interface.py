"""The whole REST interface, as its OpenAPI document describes it, against the real gateway and the real jobs service.

ABUSE_EXAMPLES sets how many requests schemathesis makes up for each operation; more find more, and take longer.
"""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from client import Client
from stack import Stack
from waiting import until

EXAMPLES = os.environ.get("ABUSE_EXAMPLES", "100")


@pytest_asyncio.fixture
async def client(system: Stack) -> AsyncIterator[Client]:
    made = Client(system)
    yield made
    await made.http.aclose()


async def server_errors(system: Stack, client: Client) -> list[str]:
    """The gateway's own count of answers above 499."""
    metrics = (await client.http.get(f"{system.metrics_url('gateway')}/metrics")).text
    return re.findall(r'mediagen_http_requests_total\{code="5\d\d".*', metrics)


@pytest.mark.timeout(900)
async def test_no_request_gets_an_answer_that_the_document_does_not_promise(system: Stack, client: Client, tmp_path: Path) -> None:
    """Every check that schemathesis has but one, over requests that are right and wrong, and over walks along the links of answers.

    Predictions return text: thousands of pictures would be drawn otherwise, and nobody looks at them.
    """
    await client.faults({"effect": "prediction_output", "shape": "text", "value": "no picture today"})
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{system.gateway_url}/openapi.json"),
        *("--header", f"Authorization: Bearer {system.api_key}"),
        # It takes a repeated Idempotency-Key and U+0000 for valid; no schema can say that they are not.
        *("--checks", "all", "--exclude-checks", "positive_data_acceptance"),
        *("--phases", "examples,coverage,fuzzing,stateful", "--mode", "all", "--max-examples", EXAMPLES),
        *("--seed", "20261124", "--generation-database", "none", "--continue-on-failure", "--no-color"),
        *("--request-timeout", "30"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    assert re.search(r"[1-9]\d* selected / [1-9]\d* total", said), said
    print(said[-1500:])

    assert await server_errors(system, client) == []
    for part in ("gateway", "jobs", "generator-1"):
        assert "Traceback" not in system.log(part) and "http.failed" not in system.log(part)
    for status in ("pending", "processing"):  # whatever was accepted comes to its end
        await until(lambda status=status: _none_is(client, status), 120)
    await client.faults()
    assert (await client.finished(await client.post("a fox, as ever"), 60))["status"] == "completed"


async def _none_is(client: Client, status: str) -> bool:
    return await client.count(status) == 0
