"""The REST API on the whole system: what a client of mediagen sees, and what it sees while parts of it are away."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from PIL import Image

from gateway.schemas import JobList, JobView
from servers import Servers
from stack import Stack
from waiting import until

FINAL = {"completed", "failed", "canceled"}
NOWHERE = "019a3c5e-7d1f-7c3a-9a55-2f0d6b1c8e47"


@pytest.fixture(scope="module")
def stack(servers: Servers) -> Iterator[Stack]:
    """One system for all tests here; none of them leaves a part of it away."""
    settings = {"SIMULATOR_PREDICT_SECONDS": "0.3", "SIMULATOR_QUEUE_SECONDS": "0.1"}
    with servers.database(servers.template) as database_url, servers.vhost() as amqp_url:
        running = Stack(servers.state / "stack-rest", servers, database_url, amqp_url, servers.bucket(), settings)
        try:
            running.start(1)
            yield running
        finally:
            running.stop()


@pytest_asyncio.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key of the tenant `tests`."""
    async with client(stack, stack.api_key) as opened:
        yield opened


@pytest_asyncio.fixture
async def nobody(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    async with httpx.AsyncClient(base_url=stack.gateway_url, timeout=30) as opened:
        yield opened


def client(stack: Stack, key: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=stack.gateway_url, headers={"Authorization": f"Bearer {key}"}, timeout=30)


async def create(http: httpx.AsyncClient, prompt: str = "a lighthouse at dusk", **fields: Any) -> dict[str, Any]:
    answer = await http.post("/api/v1/generate", json={"prompt": prompt, "model": "black-forest-labs/flux-schnell", **fields})
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def finished(http: httpx.AsyncClient, job_id: str, seconds: float = 60) -> dict[str, Any]:
    async def ended() -> dict[str, Any] | None:
        answer = await http.get(f"/api/v1/status/{job_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json()) if answer.json()["status"] in FINAL else None

    return await until(ended, seconds) or {}


async def test_a_prompt_becomes_a_picture_under_a_link_that_needs_no_key(http, nobody):
    parameters = {"seed": 123456789012345678, "output_format": "png", "num_outputs": 1}
    created = await create(http, parameters=parameters, metadata={"team": "red"}, priority=2)
    job = await finished(http, created["id"])
    assert job["status"] == "completed", job
    JobView.model_validate(job)
    assert job["parameters"] == parameters and job["metadata"] == {"team": "red"} and job["priority"] == 2
    output = job["outputs"][0]
    assert job["media_url"] == output["url"] and job["retry_count"] == 0 and job["attempts"][0]["prediction_id"]

    picture = await nobody.get(job["media_url"])
    assert picture.status_code == 200 and picture.headers["content-type"] == output["content_type"] == "image/png"
    assert hashlib.sha256(picture.content).hexdigest() == output["sha256"] and len(picture.content) == output["size"]
    assert Image.open(io.BytesIO(picture.content)).size == (output["width"], output["height"])
    assert picture.headers["etag"] == f'"{output["sha256"]}"'

    part = await nobody.get(job["media_url"], headers={"Range": "bytes=100-299", "If-Range": picture.headers["etag"]})
    assert part.status_code == 206 and part.content == picture.content[100:300]
    head = await nobody.head(job["media_url"])
    assert head.status_code == 200 and head.headers["content-length"] == str(output["size"])
    known = await nobody.get(job["media_url"], headers={"If-None-Match": picture.headers["etag"]})
    assert known.status_code == 304

    bare = job["media_url"].partition("?")[0]
    assert (await http.get(bare)).content == picture.content
    assert (await nobody.get(bare)).status_code == 401
    assert (await nobody.get(job["media_url"] + "x")).status_code == 403
    assert (await nobody.get(job["media_url"].replace("/0?", "/1?"))).status_code == 403


async def test_another_tenants_job_does_not_exist(stack, http):
    job = await finished(http, (await create(http))["id"])
    async with client(stack, stack.create_key("other")) as other:
        for method, path in (
            ("GET", f"/api/v1/status/{job['id']}"),
            ("GET", f"/api/v1/jobs/{job['id']}"),
            ("POST", f"/api/v1/jobs/{job['id']}:cancel"),
            ("GET", f"/api/v1/images/{job['id']}/0"),
        ):
            answer = await other.request(method, path)
            assert answer.status_code == 404 and answer.json()["code"] == "job_not_found", path
        assert (await other.get("/api/v1/jobs")).json() == {"jobs": [], "next_page_token": None}


@pytest.mark.parametrize("key", [None, "mg_wrong", "not even a key"])
async def test_without_a_good_key_nothing_is_accepted_or_told(stack, nobody, key):
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    for method, path in (("POST", "/api/v1/jobs"), ("GET", "/api/v1/jobs"), ("GET", f"/api/v1/status/{NOWHERE}")):
        content = b'{"prompt": "a"}' if method == "POST" else None
        answer = await nobody.request(method, path, content=content, headers={**headers, "Content-Type": "application/json"})
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["code"] in ("api_key_missing", "api_key_invalid")


async def test_a_repeated_idempotency_key_makes_one_job_however_often_it_comes(stack, http):
    body = {"prompt": "once", "parameters": {"seed": 1, "output_format": "png"}}
    key = {"Idempotency-Key": "order 7".replace(" ", "-")}
    answers = await asyncio.gather(*(http.post("/api/v1/jobs", json=body, headers=key) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    respelled = '{"parameters": {"output_format":"png",\n"seed":1}, "prompt": "once"}'
    again = await http.post("/api/v1/generate", content=respelled, headers={**key, "Content-Type": "application/json"})
    assert again.json()["id"] == answers[0].json()["id"] and again.headers["idempotent-replayed"] == "true"
    other = await http.post("/api/v1/jobs", json={**body, "prompt": "twice"}, headers=key)
    assert other.status_code == 422 and other.json()["code"] == "idempotency_key_reused"
    async with client(stack, stack.create_key("other")) as stranger:
        theirs = await stranger.post("/api/v1/jobs", json={**body, "prompt": "theirs"}, headers=key)
    assert theirs.status_code == 202 and theirs.json()["id"] != answers[0].json()["id"]


async def test_pages_of_a_list_hold_every_job_once_newest_first(stack):
    async with client(stack, stack.create_key("lists")) as http:
        ids = [(await create(http, f"number {number}"))["id"] for number in range(7)]
        for job_id in ids:
            await finished(http, job_id)
        seen, path = [], "/api/v1/jobs?page_size=3&status=completed,failed&status=canceled&model=black-forest-labs/flux-schnell"
        while path:
            answer = await http.get(path)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            JobList.model_validate(page)
            seen += [job["id"] for job in page["jobs"]]
            path = answer.links["next"]["url"] if "next" in answer.links else ""
            assert (page["next_page_token"] is None) == (not path)
        assert seen == ids[::-1]
        first = (await http.get(f"/api/v1/jobs/{ids[0]}")).json()
        later = await http.get("/api/v1/jobs", params={"created_after": first["created_at"], "page_size": 200})
        assert len(later.json()["jobs"]) == 7
        earlier = await http.get("/api/v1/jobs", params={"created_before": first["created_at"]})
        assert earlier.json()["jobs"] == []
        token = (await http.get("/api/v1/jobs?page_size=3")).json()["next_page_token"]
        for query in ({"page_token": token + "x"}, {"page_token": token, "status": "failed"}, {"page_token": "ä"}):
            broken = await http.get("/api/v1/jobs", params=query)
            assert broken.status_code == 422 and broken.json()["errors"][0]["field"] == "page_token"


async def test_a_waiting_job_is_canceled_and_a_finished_one_is_not(stack, http):
    done = await finished(http, (await create(http))["id"])
    conflict = await http.post(f"/api/v1/jobs/{done['id']}:cancel")
    assert conflict.status_code == 409 and conflict.json()["code"] == "job_finished"
    await asyncio.to_thread(stack.stop, "generator-1")  # so that the job surely waits
    created = await create(http, "to be canceled")
    for _ in range(2):
        canceled = await http.post(f"/api/v1/jobs/{created['id']}:cancel")
        assert canceled.status_code == 200 and canceled.json()["status"] == "canceled"
        assert canceled.json()["cancel_requested_at"] is not None
    await asyncio.to_thread(stack.start_part, "generator-1")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"model": "no model name"}, "model"),
        ({"prompt": "   "}, "prompt"),
        ({"model": "owner/name:not-a-version"}, "model"),
    ],
)
async def test_what_only_jobs_knows_to_be_wrong_is_named_by_its_field(http, fields, named):
    answer = await http.post("/api/v1/jobs", json={"prompt": "a", **fields})
    assert answer.status_code == 422 and [error["field"] for error in answer.json()["errors"]] == [named]


async def test_a_request_id_is_in_the_log_lines_of_every_service_that_the_job_met(stack, http):
    answer = await http.post("/api/v1/jobs", json={"prompt": "followed"}, headers={"X-Request-Id": "follow-me.1"})
    assert answer.headers["x-request-id"] == "follow-me.1"
    await finished(http, answer.json()["id"])
    for name in ("gateway", "generator-1"):
        assert '"request_id":"follow-me.1"' in stack.log(name), name


async def test_no_log_holds_a_key_or_the_token_of_a_link(stack, http, nobody):
    job = await finished(http, (await create(http))["id"])
    token = job["media_url"].partition("?sig=")[2]
    await nobody.get(job["media_url"])
    for name in stack.parts:
        assert token not in stack.log(name) and stack.api_key not in stack.log(name), name


async def test_while_s3_is_away_pictures_wait_and_jobs_do_not_care(servers, http, nobody):
    job = await finished(http, (await create(http))["id"])
    servers.object_store.kill()
    try:
        away = await nobody.get(job["media_url"])
        assert away.status_code == 503 and away.json()["code"] == "object_store_unavailable" and away.headers["retry-after"]
        assert (await http.get(f"/api/v1/status/{job['id']}")).status_code == 200
        assert (await nobody.get("/readyz")).status_code == 200
    finally:
        servers.revive_all()
    assert (await nobody.get(job["media_url"])).status_code == 200


async def test_a_restart_of_jobs_fails_no_request(stack, http):
    job = await create(http)
    stack.kill("jobs")
    waiting = [asyncio.create_task(http.post("/api/v1/jobs", json={"prompt": f"meanwhile {n}"})) for n in range(5)]
    waiting += [asyncio.create_task(http.get(f"/api/v1/status/{job['id']}")) for _ in range(5)]
    await asyncio.to_thread(stack.start_part, "jobs")
    answers = await asyncio.gather(*waiting)
    assert [answer.status_code for answer in answers] == [202] * 5 + [200] * 5


async def test_while_jobs_is_away_it_says_so_in_time_and_is_not_ready(stack, nobody):
    stack.kill("jobs")
    try:
        answer = await nobody.get(f"/api/v1/status/{NOWHERE}", headers={"Authorization": "Bearer mg_x"})
        assert answer.status_code == 503 and answer.headers["retry-after"]
        assert "127.0.0.1" not in answer.text
        await readiness(nobody, 503)  # a little later: one missed answer is forgiven
        assert (await nobody.get("/livez")).status_code == 200
    finally:
        await asyncio.to_thread(stack.start_part, "jobs")
    await readiness(nobody, 200)


async def readiness(http: httpx.AsyncClient, status: int) -> None:
    """Waits until /readyz answers with this status."""

    async def answers() -> bool:
        return (await http.get("/readyz")).status_code == status

    await until(answers)


async def is_held(stack: Stack, http: httpx.AsyncClient) -> bool:
    """Whether the gateway has a request that it has not answered."""
    figures = (await http.get(f"{stack.metrics_url('gateway')}/metrics")).text
    return "mediagen_http_requests_in_flight 1.0" in figures.splitlines()


async def test_a_request_that_is_open_when_the_gateway_is_told_to_stop_gets_its_answer(stack):
    stack.kill("jobs")
    async with client(stack, stack.api_key) as http:
        waiting = asyncio.create_task(http.post("/api/v1/jobs", json={"prompt": "held"}))
        await until(lambda: is_held(stack, http), what="the request is open")
        stopping = asyncio.create_task(asyncio.to_thread(stack.stop, "gateway"))
        await asyncio.to_thread(stack.start_part, "jobs")
        assert (await waiting).status_code == 202
        await stopping
    await asyncio.to_thread(stack.start_part, "gateway")
