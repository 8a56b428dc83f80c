"""Hostile requests to the route of Replicate's webhooks: none is stored, none moves a job, and none is answered with a 5xx."""

import datetime
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from urllib.parse import quote

import asyncpg
import httpx
import pytest_asyncio
from standardwebhooks import Webhook

from abuse.conftest import WEBHOOK_SECRET
from client import Client
from jobs.access import sign_webhook
from stack import Stack

OTHER_SECRET = "whsec_" + "b3RoZXI" * 4


class Open(NamedTuple):
    """A create that is under way, and the URL that its webhook would come to."""

    intent: str
    token: str
    job: str
    prediction: str

    @property
    def path(self) -> str:
        return f"/webhooks/replicate/{self.intent}?token={self.token}"


class Door(NamedTuple):
    """The route of a gateway without any key, two creates of two tenants, and the database behind it all."""

    http: httpx.AsyncClient
    database: asyncpg.Connection
    ours: Open
    theirs: Open

    async def stored(self) -> int:
        """How many webhooks were noted."""
        return int(await self.database.fetchval("SELECT count(*) FROM provider_inbox"))


@pytest_asyncio.fixture
async def door(system: Stack) -> AsyncIterator[Door]:
    client = Client(system)
    # Only what the tests send comes in: the webhooks of Replicate itself are lost.
    await client.faults({"effect": "prediction_duration", "seconds": 3600}, {"effect": "webhook_lost"})
    ours = await client.post("a fox that takes its time")
    other = system.create_key("others")
    client.http.headers["authorization"] = f"Bearer {other}"
    theirs = await client.post("a fox of somebody else")
    await client.until(theirs, lambda job: any(attempt["prediction_id"] for attempt in job["attempts"]), 60)
    client.http.headers["authorization"] = f"Bearer {system.api_key}"
    await client.until(ours, lambda job: any(attempt["prediction_id"] for attempt in job["attempts"]), 60)
    database = await asyncpg.connect(system.services.database_url)

    async def opened(job_id: str) -> Open:
        row = await database.fetchrow(
            "SELECT s.intent_id, s.prediction_id, t.signing_secret FROM submissions s JOIN jobs j ON j.id = s.job_id "
            "JOIN tenants t ON t.id = j.tenant_id WHERE j.id = $1",
            uuid.UUID(job_id),
        )
        intent = str(row["intent_id"])
        return Open(intent, sign_webhook(row["signing_secret"], intent), job_id, row["prediction_id"])

    async with httpx.AsyncClient(base_url=system.gateway_url, timeout=60) as http:
        yield Door(http, database, await opened(ours), await opened(theirs))
    for key, job_id in ((system.api_key, ours), (other, theirs)):
        client.http.headers["authorization"] = f"Bearer {key}"
        assert (await client.http.post(f"/api/v1/jobs/{job_id}:cancel")).status_code == 200
        await client.finished(job_id)  # while webhooks are lost: that of its end would come to the next test
    await client.faults()
    await client.http.aclose()
    await database.execute("DELETE FROM provider_inbox")
    await database.close()


def signed(body: bytes, secret: str = WEBHOOK_SECRET, webhook_id: str = "msg_1", age: float = 0) -> dict[str, str]:
    """The headers of a webhook with this body. (The library signs text alone: bytes that are none are signed as others.)"""
    at = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age)
    signature = Webhook(secret).sign(webhook_id, at, body.decode(errors="replace"))
    return {"webhook-id": webhook_id, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}


def shown(prediction: str, **fields: Any) -> bytes:
    """A prediction as a webhook's body."""
    return json.dumps({"id": prediction, "status": "succeeded", "output": "https://evil.test/", **fields}).encode()


async def test_this_door_opens_to_the_right_word(door: Door) -> None:
    """What the other tests see refused is refused for what is wrong with it."""
    body = shown(door.ours.prediction)
    answer = await door.http.post(door.ours.path, content=body, headers=signed(body))
    assert (answer.status_code, await door.stored()) == (204, 1)


async def test_paths_and_tokens_that_were_not_given_out_are_refused(system: Stack, door: Door) -> None:
    """Each request is signed rightly: only its URL is wrong."""
    intent, token = door.ours.intent, door.ours.token
    paths = [
        *(f"/webhooks/replicate/{intent}", f"/webhooks/replicate/{intent}?token=", f"/webhooks/replicate/{intent}?token"),
        *(f"/webhooks/replicate/{intent}?token={door.theirs.token}", f"/webhooks/replicate/{door.theirs.intent}?token={token}"),
        *(f"/webhooks/replicate/{intent}?token={token[:-1]}", f"/webhooks/replicate/{intent}?token={token}x"),
        *(f"/webhooks/replicate/{intent}?token={token.swapcase()}", f"/webhooks/replicate/{intent}?TOKEN={token}"),
        *(
            f"/webhooks/replicate/{intent}?token={'a' * 8000}",
            f"/webhooks/replicate/{intent}?token=%00",
            f"/{intent}?token={token}",
        ),
        *(f"/webhooks/replicate/{intent}?token=%ff%fe", f"/webhooks/replicate/{intent}?token={quote('ключ')}"),
        *(f"/webhooks/replicate/{intent}?token=%ED%A0%80", f"/webhooks/replicate/{intent}?token={token}&token=x"),
        *(f"/webhooks/replicate/{intent.upper()}?token={token}", f"/webhooks/replicate/{intent.replace('-', '')}?token={token}"),
        *(f"/webhooks/replicate/{{{intent}}}?token={token}", f"/webhooks/replicate/urn:uuid:{intent}?token={token}"),
        *(f"/webhooks/replicate/{intent}%00?token={token}", f"/webhooks/replicate/{intent}%0a?token={token}"),
        *(f"/webhooks/replicate/{intent}/?token={token}", f"/webhooks/replicate//{intent}?token={token}"),
        *(f"/webhooks/replicate/{intent}%2f..%2f{intent}?token={token}", f"/webhooks/replicate/..%2f{intent}?token={token}"),
        *(f"/webhooks/replicate/{uuid.uuid4()}?token={token}", f"/webhooks/replicate/{uuid.UUID(int=0)}?token={token}"),
        *(f"/webhooks/replicate/' OR 1=1 --?token={token}", f"/webhooks/replicate/{'a' * 5000}?token={token}"),
        *(
            f"/webhooks/replicate/{door.ours.job}?token={token}",
            f"/webhooks/Replicate/{intent}?token={token}",
            "/webhooks/replicate/",
        ),
    ]
    body = shown(door.ours.prediction)
    for number, path in enumerate(paths):
        answer = await door.http.post(path, content=body, headers=signed(body, webhook_id=f"msg_{number}"))
        assert answer.status_code in (403, 404), (path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"):
        assert (await door.http.request(method, door.ours.path)).status_code in (404, 405)
    assert await door.stored() == 0
    await nothing_happened(system, door)


async def test_what_is_not_signed_as_it_came_is_refused(system: Stack, door: Door) -> None:
    body = shown(door.ours.prediction)
    right = signed(body)
    wrong: list[dict[str, Any]] = [
        {},
        *({key: value for key, value in right.items() if key != missing} for missing in right),
        signed(body, OTHER_SECRET),
        signed(body, age=400),
        signed(body, age=-400),
        signed(shown(door.theirs.prediction)),
        *({**right, "webhook-id": other} for other in ("msg_2", "", "a" * 4000, "\u202e".encode(), "msg_1, msg_1")),
        *({**right, "webhook-timestamp": other} for other in ("", "0", "-1", "nan", "1e400", "9" * 400, "\u0661".encode())),
        *({**right, "webhook-signature": other} for other in ("", "v1", "v1,", "v1, a", "v1,====", "v2,a", ",", b"v1,\xff")),
        {**right, "webhook-signature": " ".join(["v1,AAAA"] * 1000)},
        {**right, "webhook-signature": right["webhook-signature"].lower()},
        {**signed(body, OTHER_SECRET), "content-encoding": "gzip"},
    ]
    for headers in wrong:
        answer = await door.http.post(door.ours.path, content=body, headers=headers)
        assert 400 <= answer.status_code < 500, (headers, answer.text)
        assert "problem+json" in answer.headers["content-type"] or answer.status_code == 400
        assert WEBHOOK_SECRET not in answer.text and door.ours.token not in answer.text
    assert await door.stored() == 0
    await nothing_happened(system, door)


async def test_a_signed_body_that_makes_no_sense_is_refused(system: Stack, door: Door) -> None:
    ids = ["", "../account", "a/b", "a b", "a\0", "\u202e", "a" * 129, "a,b", 1, None, [], {}, True, 1e400]
    statuses = ["\u0441ucceeded", 7, None, [], {"a": 1}]
    bodies = [
        *(b"", b" ", b"null", b"[]", b"{}", b"1", b'"id"', b"{", b'{"id"', b"[" * 200_000, b'{"a":' * 50_000, b"\xef\xbb\xbf{}"),
        *(
            b"<xml/>",
            b"id=1&status=succeeded",
            b"%00",
            b'{"id": "a", "status": "\xff"}',
            b'{"id": "\\ud800", "status": "succeeded"}',
        ),
        *(json.dumps({"id": one, "status": "succeeded"}).encode() for one in ids),
        *(json.dumps({"id": door.ours.prediction, "status": one}).encode() for one in statuses),
        *(json.dumps({"status": "succeeded"}).encode(), json.dumps({"id": door.ours.prediction}).encode()),
        json.dumps([{"id": door.ours.prediction, "status": "succeeded"}]).encode(),
    ]
    for body in bodies:
        answer = await door.http.post(door.ours.path, content=body, headers=signed(body))
        assert answer.status_code in (400, 401, 413), (body[:60], answer.status_code, answer.text)
    large = await door.http.post(door.ours.path, content=bytes(20 * 1024 * 1024), headers=signed(b""))
    assert large.status_code == 413
    assert await door.stored() == 0
    await nothing_happened(system, door)


async def test_a_webhook_that_lies_is_a_hint_that_polling_corrects(system: Stack, door: Door) -> None:
    """Who has the secret and the URL may lie: what that leads to is read at Replicate, and an output from nowhere else."""
    for number, (prediction, status) in enumerate(
        [
            *(
                (door.ours.prediction, status)
                for status in ("succeeded", "failed", "canceled", "aborted", "processing", "x" * 5000)
            ),
            *((door.theirs.prediction, "succeeded"), ("no-such-prediction", "succeeded"), ("a" * 128, "failed")),
        ]
    ):
        body = shown(prediction, status=status, output=["http://169.254.169.254/", "data:text/html,<script>"])
        answer = await door.http.post(door.ours.path, content=body, headers=signed(body, webhook_id=f"msg_{number}"))
        assert answer.status_code == 204, answer.text
    again = shown(door.ours.prediction)
    for _ in range(20):
        assert (
            await door.http.post(door.ours.path, content=again, headers=signed(again, webhook_id="msg_again"))
        ).status_code == 204
    assert await door.stored() <= 10
    await nothing_happened(system, door)


async def nothing_happened(system: Stack, door: Door) -> None:
    """Both jobs go on, each with its own prediction, and nobody has stumbled."""
    for case in (door.ours, door.theirs):
        row = await door.database.fetchrow("SELECT state, prediction_id FROM jobs WHERE id = $1", uuid.UUID(case.job))
        assert (row["state"], row["prediction_id"]) == ("submitted", case.prediction)
    for part in ("gateway", "jobs", "generator-1"):
        log = system.log(part)
        assert "Traceback" not in log and "http.failed" not in log and "rpc.failed" not in log
        assert door.ours.token not in log and WEBHOOK_SECRET not in log
