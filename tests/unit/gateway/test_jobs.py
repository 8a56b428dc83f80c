import asyncio
import json
import re

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.schemas import JobView
from mediagen.jobs.v1 import jobs_pb2

UNKNOWN = "019a3c5e-7d1f-7c3a-9a55-2f0d6b1c8e47"


@pytest.mark.parametrize("path", ["/api/v1/generate", "/api/v1/jobs"])
async def test_a_created_job_is_answered_with_202_and_where_it_can_be_read(gateway, path):
    answer = await gateway.http.post(path, json={"prompt": "a cat", "priority": 3, "metadata": {"team": "red"}})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert (job["prompt"], job["status"], job["priority"], job["metadata"]) == ("a cat", "pending", 3, {"team": "red"})
    JobView.model_validate(job)
    for read in (f"/api/v1/status/{job['id']}", f"/api/v1/jobs/{job['id']}", f"/api/v1/jobs/{job['id'].upper()}"):
        assert (await gateway.http.get(read)).json() == job


async def test_parameters_keep_every_digit_on_their_way_in_and_out(gateway):
    text = '{ "seed": 123456789012345678901234567890, "scale": 1.10, "exact": 0.1000000000000000055511151231257827 }'
    body = '{"parameters": ' + text + ', "prompt": "x"}'
    answer = await gateway.http.post("/api/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 202
    assert next(iter(gateway.jobs.specs.values())).parameters == text
    assert text in answer.text


async def test_a_whole_number_may_be_written_with_a_point(gateway):
    answer = await gateway.http.post("/api/v1/jobs", json={"prompt": "a", "priority": -4.0, "deadline_seconds": 1e2})
    assert answer.status_code == 202 and answer.json()["priority"] == -4
    assert next(iter(gateway.jobs.specs.values())).deadline_seconds == 100


async def test_a_repeated_idempotency_key_answers_with_the_same_job_and_another_job_is_refused(gateway):
    key = {"Idempotency-Key": "order-7"}
    first = await gateway.http.post("/api/v1/jobs", json={"prompt": "a"}, headers=key)
    again = await gateway.http.post("/api/v1/generate", json={"prompt": "a"}, headers=key)
    other = await gateway.http.post("/api/v1/jobs", json={"prompt": "b"}, headers=key)
    assert again.status_code == 202 and again.json()["id"] == first.json()["id"]
    assert "idempotent-replayed" not in first.headers and again.headers["idempotent-replayed"] == "true"
    assert other.status_code == 422 and other.json()["code"] == "idempotency_key_reused"


async def test_without_an_idempotency_key_every_create_has_a_request_id_of_its_own(gateway):
    for _ in range(2):
        await gateway.http.post("/api/v1/jobs", json={"prompt": "a"})
    assert len(gateway.jobs.by_request_id) == 2 and "" not in gateway.jobs.by_request_id


async def test_concurrent_creates_share_calls_and_each_keeps_its_own_request_id(gateway):
    async def create(number: int):
        headers = (
            {"X-Request-Id": f"r-{number}", "traceparent": f"00-{number + 1:032x}-{1:016x}-01"}
            if number % 2
            else {"X-Request-Id": f"r-{number}"}
        )
        return await gateway.http.post("/api/v1/jobs", json={"prompt": f"p-{number}"}, headers=headers)

    answers = await asyncio.gather(*(create(number) for number in range(60)))
    assert [answer.json()["prompt"] for answer in answers] == [f"p-{number}" for number in range(60)]
    calls = gateway.jobs.calls["BatchCreateJobs"]
    assert len(calls) < 40
    seen = {}
    for request, metadata in calls:
        ids = metadata["x-request-ids"].split(",")
        traces = metadata.get("traceparents", "," * (len(ids) - 1)).split(",")
        assert len(ids) == len(traces) == len(request.requests)
        assert metadata["x-request-id"] == ids[0] and metadata["authorization"] == "Bearer mg_test"
        seen |= {each.job.prompt: (id_, trace) for each, id_, trace in zip(request.requests, ids, traces, strict=True)}
    assert {prompt: id_ for prompt, (id_, _) in seen.items()} == {f"p-{n}": f"r-{n}" for n in range(60)}
    for n in range(60):
        _, trace = seen[f"p-{n}"]
        assert trace == f"00-{n + 1:032x}-{1:016x}-01" if n % 2 else trace.endswith("-00")
    assert len({trace for _, trace in seen.values()}) == 60


async def test_in_a_batch_one_refused_job_harms_no_other(gateway):
    bodies = [{"prompt": "a", "model": "no model" if number == 3 else "owner/name"} for number in range(6)]
    answers = await asyncio.gather(*(gateway.http.post("/api/v1/jobs", json=body) for body in bodies))
    assert [answer.status_code for answer in answers] == [202, 202, 202, 422, 202, 202]
    assert answers[3].json()["errors"] == [{"field": "model", "message": "Must be owner/name."}]


async def test_concurrent_reads_share_calls(gateway):
    jobs = [gateway.jobs.add() for _ in range(30)]
    answers = await asyncio.gather(*(gateway.http.get(f"/api/v1/jobs/{job.id}") for job in jobs * 2))
    assert [answer.json()["id"] for answer in answers] == [job.id for job in jobs * 2]
    assert len(gateway.jobs.calls["BatchGetJobs"]) < 40


async def test_keys_never_share_a_call(gateway):
    job = gateway.jobs.add()
    path = f"/api/v1/jobs/{job.id}"
    right, wrong, none = await asyncio.gather(
        gateway.http.get(path),
        gateway.http.get(path, headers={"Authorization": "Bearer mg_wrong"}),
        gateway.nobody.get(path),
    )
    assert right.status_code == 200
    assert wrong.status_code == 401 and wrong.json()["code"] == "api_key_invalid"
    assert wrong.headers["www-authenticate"] == "Bearer"
    assert none.status_code == 401


async def test_a_view_tells_all_that_there_is_and_null_for_the_rest(gateway):
    at = Timestamp(seconds=1_800_000_001)
    job = gateway.jobs.add(
        prompt="a cat",
        status=jobs_pb2.JOB_STATUS_COMPLETED,
        progress=0.0,
        media_path="out/a/1/0.png",
        finished_at=at,
        outputs=[
            jobs_pb2.Output(
                content_type="image/png", size=3, sha256="ab", width=1, height=2, object_key="out/a/1/0.png", access_token="t/+="
            ),
            jobs_pb2.Output(index=1, content_type="application/json", size=13, value='{"score":0.10}'),
        ],
        attempts=[jobs_pb2.Attempt(number=1, state="succeeded", prediction_id="p1", created_at=at, predict_seconds=1.5)],
    )
    answer = await gateway.http.get(f"/api/v1/jobs/{job.id}", headers={"Host": "media.example.com"})
    view = answer.json()
    JobView.model_validate(view)
    link = f"http://media.example.com/api/v1/images/{job.id}/0?sig=t%2F%2B%3D"
    assert view["media_url"] == view["outputs"][0]["url"] == link
    assert view["outputs"][1]["url"] is None and '"value":{"score":0.10}' in answer.text
    assert view["created_at"] == "2027-01-15T08:00:00.123456Z" and view["finished_at"] == "2027-01-15T08:00:01Z"
    assert view["progress"] == 0.0 and view["started_at"] is None and view["error_code"] is None
    assert view["attempts"][0]["predict_seconds"] == 1.5 and view["attempts"][0]["finished_at"] is None


async def test_a_host_header_that_is_no_host_gets_into_no_link(gateway):
    job = gateway.jobs.add(media_path="x", outputs=[jobs_pb2.Output(object_key="x", access_token="t")])
    answer = await gateway.http.get(f"/api/v1/jobs/{job.id}", headers={"Host": 'evil"><script>'})
    assert answer.json()["media_url"].startswith(f"http://127.0.0.1:{gateway.port}/api/v1/images/")


async def test_a_job_that_is_unchanged_is_not_sent_again(gateway):
    job = gateway.jobs.add(status=jobs_pb2.JOB_STATUS_PENDING)
    path = f"/api/v1/status/{job.id}"
    etag = (await gateway.http.get(path)).headers["etag"]
    unchanged = await gateway.http.get(path, headers={"If-None-Match": f'"other", W/{etag}'})
    assert unchanged.status_code == 304 and unchanged.content == b"" and unchanged.headers["etag"] == etag
    job.version, job.waiting_for = 2, "generator"
    assert (await gateway.http.get(path, headers={"If-None-Match": etag})).status_code == 200


async def test_a_list_passes_on_its_filters_and_links_the_next_page(gateway):
    gateway.jobs.add()
    gateway.jobs.next_page_token = "a/b"
    query = "status=pending,failed&status=canceled&model=a/b&created_after=2026-01-01T00:00:00%2B01:00&page_size=7"
    answer = await gateway.http.get(f"/api/v1/jobs?{query}")
    assert answer.status_code == 200, answer.text
    page = answer.json()
    assert page["next_page_token"] == "a/b" and len(page["jobs"]) == 1
    following = re.fullmatch(r'<(http://[^>]*)>; rel="next"', answer.headers["link"])
    assert following is not None
    await gateway.http.get(following[1])
    (first, _), (second, _) = gateway.jobs.calls["ListJobs"]
    assert list(first.statuses) == [1, 4, 5] and first.model == "a/b" and first.page_size == 7
    assert first.created_after.ToJsonString() == "2025-12-31T23:00:00Z" and not first.HasField("created_before")
    assert second.page_token == "a/b"
    first.page_token = "a/b"
    assert first == second
    assert following[1].count("page_token") == (await gateway.http.get(following[1])).headers["link"].count("page_token") == 1


async def test_a_cancelled_job_is_answered_and_a_finished_one_is_a_conflict(gateway):
    waiting = gateway.jobs.add(status=jobs_pb2.JOB_STATUS_PENDING)
    done = gateway.jobs.add(status=jobs_pb2.JOB_STATUS_COMPLETED)
    canceled = await gateway.http.post(f"/api/v1/jobs/{waiting.id}:cancel")
    assert canceled.status_code == 200 and canceled.json()["status"] == "canceled"
    conflict = await gateway.http.post(f"/api/v1/jobs/{done.id}:cancel")
    assert conflict.status_code == 409 and conflict.json()["code"] == "job_finished"
    assert (await gateway.http.post(f"/api/v1/jobs/{UNKNOWN}:cancel")).status_code == 404


async def test_the_body_of_a_create_is_json_whatever_its_charset_says(gateway):
    content = json.dumps({"prompt": "ä 🎨"}, ensure_ascii=False).encode()
    answer = await gateway.http.post("/api/v1/jobs", content=content, headers={"Content-Type": "Application/JSON; charset=utf-8"})
    assert answer.status_code == 202 and answer.json()["prompt"] == "ä 🎨"
