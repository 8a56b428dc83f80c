"""The promises, on the whole system: real processes, real servers, and a simulator that counts every create."""

import asyncio
import hashlib
import time

import httpx
import pytest

from client import Client
from waiting import holds, until

FAST = {
    "JOBS_TIME_SCALE": "0.1",
    "JOBS_CREATES_PER_MINUTE": "0",
    "JOBS_READS_PER_MINUTE": "0",
    "SIMULATOR_CREATES_PER_MINUTE": "0",
    "SIMULATOR_READS_PER_MINUTE": "0",
    "SIMULATOR_PREDICT_SECONDS": "1",
}
"""Leases of 3 s and a settle time of 9 s; no budget, so that a test is as short as its point allows."""


async def completed(client: Client, jobs: int) -> bool:
    return await client.count("completed") >= jobs


async def created(client: Client, predictions: int) -> bool:
    return (await client.ledger())["creates"] >= predictions


async def waits_for(client: Client, job_id: str, what: str) -> bool:
    return (await client.job(job_id))["waiting_for"] == what


async def check_all_completed_once(client: Client, ids: list[str]) -> None:
    """Every job completed, with one prediction each, and its object is what its sha256 says."""
    assert await client.count("completed") == len(ids)
    ledger = await client.ledger()
    assert ledger["creates"] == len(ids)
    for job_id in ids[:: max(1, len(ids) // 10)]:
        job = await client.job(job_id)
        body = (await client.http.get(job["media_url"])).raise_for_status().content
        assert hashlib.sha256(body).hexdigest() == job["outputs"][0]["sha256"]


async def test_a_killed_generator_loses_no_job_and_pays_for_none_twice(start_client):
    client = start_client(generators=3, **FAST)
    ids = await client.post_many([f"fox number {n // 2}" for n in range(500)])  # every prompt twice: twins
    await until(lambda: completed(client, 60), seconds=60)
    client.stack.kill("generator-2")
    await client.all_finished(500, seconds=120)
    await check_all_completed_once(client, ids)


async def test_without_rabbitmq_jobs_are_accepted_answered_and_generated(start_client, rabbitmq):
    client = start_client(generators=2, **FAST)
    ids = await client.post_many([f"before {n}" for n in range(20)])
    rabbitmq.stop()
    down = time.monotonic()
    during = []
    while time.monotonic() - down < 30:
        began = time.monotonic()
        during.append(await client.post(f"during {len(during)}"))
        assert time.monotonic() - began < 5
        await asyncio.sleep(1)
    assert (await client.finished(during[0], seconds=30))["status"] == "completed"
    rabbitmq.start()
    rabbitmq.wait()
    after = await client.post_many([f"after {n}" for n in range(20)])
    ids += during + after
    await client.all_finished(len(ids), seconds=60)
    await check_all_completed_once(client, ids)


@pytest.mark.parametrize(
    "fault",
    [
        {"effect": "create_late", "seconds": 8},
        {"effect": "create_reset", "accepted": True},
        {"effect": "create_answer", "answer": "bad_gateway", "accepted": True},
    ],
    ids=["answered after its timeout", "reset after it was made", "a 502 that had made it"],
)
async def test_a_create_whose_answer_is_lost_is_found_and_not_repeated(start_client, fault):
    client = start_client(generators=2, **FAST)
    await client.faults({**fault, "times": 1})
    job_id = await client.post("a lost answer")
    job = await client.until(job_id, lambda job: job["waiting_for"] == "verification", seconds=20)
    assert job["status"] == "processing"
    job = await client.finished(job_id, seconds=40)
    assert job["status"] == "completed"
    assert len(job["attempts"]) == 1
    assert (await client.ledger())["creates"] == 1


async def test_a_create_that_never_happened_is_ruled_out_and_made_again_at_no_attempt(start_client):
    client = start_client(generators=2, **FAST)
    await client.faults({"effect": "create_reset", "accepted": False, "times": 1})
    job = await client.finished(await client.post("reset before"), seconds=40)
    assert (job["status"], job["retry_count"]) == ("completed", 0)
    assert [attempt["state"] for attempt in job["attempts"]] == ["not_created", "succeeded"]
    assert (await client.ledger())["creates"] == 1


async def test_402_pauses_the_lane_and_jobs_wait_for_it(start_client):
    client = start_client(generators=1, **FAST)
    await client.faults({"effect": "create_answer", "answer": "insufficient_credit", "times": 1})
    job_id = await client.post("no credit")
    job = await client.until(job_id, lambda job: job["waiting_for"] == "lane_paused", seconds=10)
    assert job["status"] == "pending"
    other = await client.post("must wait too")
    await holds(lambda: waits_for(client, other, "lane_paused"), seconds=2)
    job = await client.finished(job_id, seconds=30)
    assert (job["status"], job["retry_count"]) == ("completed", 0)
    assert (await client.finished(other))["status"] == "completed"
    assert (await client.ledger())["creates"] == 2


async def test_429_costs_no_attempt(start_client):
    client = start_client(generators=1, **FAST)
    await client.faults({"effect": "create_answer", "answer": "throttled_about", "retry_after": 1, "times": 3})
    job = await client.finished(await client.post("throttled"), seconds=60)
    assert (job["status"], job["retry_count"]) == ("completed", 0)
    assert (await client.ledger())["creates"] == 1


async def test_a_failed_prediction_is_retried_and_then_fails_with_its_message(start_client):
    client = start_client(generators=1, **FAST)
    text = "Prediction interrupted; please retry (code: PA)"
    await client.faults({"effect": "prediction_ends", "status": "failed", "error": text})
    job = await client.finished(await client.post("always fails"), seconds=90)
    assert (job["status"], job["retry_count"]) == ("failed", 3)
    assert text in job["error_message"]
    starts = [attempt["created_at"] for attempt in job["attempts"]]
    assert len(starts) == 4
    assert (await client.ledger())["creates"] == 4


async def test_a_rejected_prompt_fails_at_once_and_is_not_paid_again(start_client):
    client = start_client(generators=1, **FAST)
    await client.faults({"effect": "prediction_ends", "status": "failed", "error": "NSFW content detected. (E005)"})
    job = await client.finished(await client.post("rejected"), seconds=30)
    assert (job["status"], job["error_code"], job["retry_count"]) == ("failed", "content_rejected", 0)
    assert (await client.ledger())["creates"] == 1


async def test_cancelling_a_running_job_cancels_its_prediction(start_client):
    client = start_client(generators=1, **{**FAST, "SIMULATOR_PREDICT_SECONDS": "30"})
    job_id = await client.post("to be canceled")
    await client.until(job_id, lambda job: job["attempts"] and job["attempts"][0]["prediction_id"])
    for _ in range(2):  # asking twice is asking once
        answer = await client.http.post(f"/api/v1/jobs/{job_id}:cancel")
        assert answer.status_code == 200
    job = await client.finished(job_id, seconds=20)
    assert job["status"] == "canceled"
    ledger = await client.ledger()
    assert [one["status"] for one in ledger["predictions"]] == ["canceled"]


async def test_a_drained_generator_hands_its_predictions_over_at_once_and_at_no_cost(start_client):
    client = start_client(generators=2, SIMULATOR_PREDICT_SECONDS="15")  # with the protocol's real times
    ids = await client.post_many([f"drain {n}" for n in range(40)])
    await until(lambda: created(client, 40), seconds=60)
    began = time.monotonic()
    made = {name: client.stack.log(name).count("prediction.created") for name in ("generator-1", "generator-2")}
    drained, other = sorted(made, key=lambda name: -made[name])  # what is rung for together, one of them may have taken alone
    held = made[drained]
    assert held > 0
    await asyncio.to_thread(client.stack.stop, drained)
    assert time.monotonic() - began < 40
    await until(lambda: client.stack.log(other).count("MODE_ATTACH") >= held, seconds=15)
    await client.all_finished(40, seconds=60)
    await check_all_completed_once(client, ids)


async def test_a_job_is_followed_by_the_request_id_through_every_service(start_client):
    client = start_client(generators=1, **FAST)
    answer = await client.http.post("/api/v1/jobs", json={"prompt": "traced"}, headers={"x-request-id": "trace-me-1"})
    assert answer.headers["x-request-id"] == "trace-me-1"
    await client.finished(answer.json()["id"])
    for part in ("gateway", "jobs", "generator-1"):
        assert any("trace-me-1" in line for line in client.stack.log(part).splitlines()), part
    for part in ("gateway", "jobs", "generator-1", "simulator"):
        assert client.stack.api_key not in client.stack.log(part)
        assert client.stack.worker_token not in client.stack.log(part)


async def test_a_tenant_past_its_cap_is_told_when_to_come_back(start_client):
    client = start_client(generators=0, JOBS_MAX_WAITING="3")
    for n in range(3):
        await client.post(f"fits {n}")
    answer = await client.http.post("/api/v1/jobs", json={"prompt": "too many"})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["code"] == "too_many_waiting_jobs"
    async with httpx.AsyncClient(
        base_url=client.stack.gateway_url, headers={"authorization": f"Bearer {client.stack.create_key('other')}"}
    ) as other:
        assert (await other.post("/api/v1/jobs", json={"prompt": "another tenant's"})).status_code == 202
