import asyncio
import json

import pytest

from gateway.problems import Problem

JSON = {"Content-Type": "application/json"}
JOB = "019a3c5e-7d1f-7c3a-9a55-2f0d6b1c8e47"

BODIES = [
    # name, body, status, code, field or words of the detail
    ("nothing at all", b"", 400, "invalid_json", "empty"),
    ("only spaces", b" \n", 400, "invalid_json", "empty"),
    ("half an object", b'{"prompt": "a"', 400, "invalid_json", "line 1"),
    ("text after the object", b'{"prompt": "a"} x', 400, "invalid_json", "column 17"),
    ("an array", b'["prompt"]', 400, "invalid_json", "object"),
    ("null", b"null", 400, "invalid_json", "object"),
    ("a string", b'"prompt"', 400, "invalid_json", "object"),
    ("a byte order mark", b'\xef\xbb\xbf{"prompt": "a"}', 400, "invalid_json", "line 1"),
    ("no UTF-8", b'{"prompt": "\xff"}', 400, "invalid_json", "byte 12"),
    ("UTF-16", '{"prompt": "a"}'.encode("utf-16"), 400, "invalid_json", "UTF-8"),
    ("a name twice", b'{"prompt": "a", "prompt": "b"}', 400, "invalid_json", "'prompt' appears twice"),
    (
        "a name twice further down",
        b'{"prompt": "a", "parameters": {"x": [{"y": 1, "y": 2}]}}',
        400,
        "invalid_json",
        "'y' appears twice",
    ),
    ("NaN", b'{"prompt": "a", "parameters": {"x": NaN}}', 400, "invalid_json", "NaN"),
    ("minus Infinity", b'{"prompt": "a", "parameters": {"x": -Infinity}}', 400, "invalid_json", "-Infinity"),
    ("a number beyond all bounds", b'{"prompt": "a", "parameters": {"x": 1e400}}', 400, "invalid_json", "1e400"),
    ("an integer of 5,000 digits", b'{"prompt": "a", "priority": ' + b"9" * 5000 + b"}", 400, "invalid_json", "digits"),
    ("deep nesting", b'{"prompt": "a", "parameters": {"x": ' + b"[" * 70 + b"]" * 70 + b"}}", 400, "invalid_json", "deeply"),
    ("abysmal nesting", b'{"prompt": ' + b"[" * 100_000, 400, "invalid_json", "deeply"),
    ("U+0000", b'{"prompt": "a\\u0000b"}', 400, "invalid_json", "U+0000"),
    ("U+0000 in a name", b'{"prompt": "a", "parameters": {"\\u0000": 1}}', 400, "invalid_json", "U+0000"),
    ("half a surrogate pair", b'{"prompt": "\\ud83d"}', 400, "invalid_json", "surrogate"),
    ("a raw control character", b'{"prompt": "a\x01"}', 400, "invalid_json", "control character"),
    ("no prompt", b"{}", 422, "invalid_argument", "prompt"),
    ("an empty prompt", b'{"prompt": ""}', 422, "invalid_argument", "prompt"),
    ("a prompt that is null", b'{"prompt": null}', 422, "invalid_argument", "prompt"),
    ("a prompt that is a number", b'{"prompt": 1}', 422, "invalid_argument", "prompt"),
    ("a prompt that is too long", json.dumps({"prompt": "a" * 32_769}).encode(), 422, "invalid_argument", "prompt"),
    ("an unknown field", b'{"prompt": "a", "promt": "b"}', 422, "invalid_argument", "promt"),
    ("a model that is a list", b'{"prompt": "a", "model": []}', 422, "invalid_argument", "model"),
    ("a model name that is none", b'{"prompt": "a", "model": "no model"}', 422, "invalid_argument", "model"),
    ("parameters in a list", b'{"prompt": "a", "parameters": []}', 422, "invalid_argument", "parameters"),
    ("parameters in a string", b'{"prompt": "a", "parameters": "{}"}', 422, "invalid_argument", "parameters"),
    ("a prompt in the parameters", b'{"prompt": "a", "parameters": {"prompt": "b"}}', 422, "invalid_argument", "parameters.prompt"),
    (
        "parameters of 129 KiB",
        json.dumps({"prompt": "a", "parameters": {"x": "y" * 132_000}}).encode(),
        422,
        "invalid_argument",
        "parameters",
    ),
    ("a priority of 11", b'{"prompt": "a", "priority": 11}', 422, "invalid_argument", "priority"),
    ("a priority of 1.5", b'{"prompt": "a", "priority": 1.5}', 422, "invalid_argument", "priority"),
    ("a priority that is true", b'{"prompt": "a", "priority": true}', 422, "invalid_argument", "priority"),
    ("a priority in a string", b'{"prompt": "a", "priority": "1"}', 422, "invalid_argument", "priority"),
    ("a priority beyond int64", b'{"prompt": "a", "priority": 99999999999999999999}', 422, "invalid_argument", "priority"),
    ("a label that is a number", b'{"prompt": "a", "metadata": {"team": 1}}', 422, "invalid_argument", "metadata.team"),
    (
        "a label that is too long",
        json.dumps({"prompt": "a", "metadata": {"k" * 65: ""}}).encode(),
        422,
        "invalid_argument",
        "metadata." + "k" * 65,
    ),
    ("a label without a name", b'{"prompt": "a", "metadata": {"": "x"}}', 422, "invalid_argument", "metadata."),
    (
        "seventeen labels",
        json.dumps({"prompt": "a", "metadata": {str(n): "" for n in range(17)}}).encode(),
        422,
        "invalid_argument",
        "metadata",
    ),
    ("a deadline of 4 seconds", b'{"prompt": "a", "deadline_seconds": 4}', 422, "invalid_argument", "deadline_seconds"),
    ("a deadline after years", b'{"prompt": "a", "deadline_seconds": 604801}', 422, "invalid_argument", "deadline_seconds"),
    ("a prompt of 1 MB", json.dumps({"prompt": "a" * 1_000_000}).encode(), 413, "body_too_large", "262144"),
]


def check_problem(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate(answer.json())
    assert (problem.status, problem.code, problem.type) == (status, code, f"urn:mediagen:problem:{code}")
    assert problem.request_id == answer.headers["x-request-id"]
    assert problem.title and problem.detail and problem.instance.startswith("/")
    return problem


@pytest.mark.parametrize(("body", "status", "code", "said"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES])
async def test_a_body_that_is_no_job_is_refused_and_told_why(gateway, body, status, code, said):
    answer = await gateway.http.post("/api/v1/jobs", content=body, headers=JSON)
    problem = check_problem(answer, status, code)
    if problem.errors:
        assert said in [error.field for error in problem.errors]
    else:
        assert said in problem.detail
    assert not gateway.jobs.jobs


REQUESTS = [
    # name, method, path, headers, status, code, field or words of the detail
    ("an unknown path", "GET", "/api/v1/nothing", {}, 404, "not_found", "/api/v1/nothing"),
    ("a slash too many", "GET", "/api/v1/jobs/", {}, 404, "not_found", "/api/v1/jobs/"),
    ("an unknown job", "GET", f"/api/v1/jobs/{JOB}", {}, 404, "job_not_found", JOB),
    ("an unknown job's status", "GET", f"/api/v1/status/{JOB}", {}, 404, "job_not_found", JOB),
    ("a malformed id", "GET", "/api/v1/jobs/1", {}, 422, "invalid_argument", "job_id"),
    ("an id with a NUL", "GET", "/api/v1/jobs/%00", {}, 422, "invalid_argument", "job_id"),
    ("a malformed id to cancel", "POST", "/api/v1/jobs/1:cancel", {}, 422, "invalid_argument", "job_id"),
    ("a verb that there is not", "POST", f"/api/v1/jobs/{JOB}:retry", {}, 404, "not_found", ":retry"),
    ("a malformed id of an image", "GET", "/api/v1/images/1/0", {}, 422, "invalid_argument", "job_id"),
    ("an index that is none", "GET", f"/api/v1/images/{JOB}/first", {}, 422, "invalid_argument", "index"),
    ("a negative index", "GET", f"/api/v1/images/{JOB}/-1", {}, 422, "invalid_argument", "index"),
    ("an unknown output", "GET", f"/api/v1/images/{JOB}/0", {}, 404, "output_not_found", "output"),
    ("a wrong link", "GET", f"/api/v1/images/{JOB}/0?sig=forged", {}, 403, "access_token_invalid", "link"),
    ("a status that there is not", "GET", "/api/v1/jobs?status=done", {}, 422, "invalid_argument", "status.0"),
    ("a page of nothing", "GET", "/api/v1/jobs?page_size=0", {}, 422, "invalid_argument", "page_size"),
    ("a page of too much", "GET", "/api/v1/jobs?page_size=201", {}, 422, "invalid_argument", "page_size"),
    ("a broken page token", "GET", "/api/v1/jobs?page_token=broken", {}, 422, "invalid_argument", "page_token"),
    ("a time that is none", "GET", "/api/v1/jobs?created_after=yesterday", {}, 422, "invalid_argument", "created_after"),
    ("a time in seconds", "GET", "/api/v1/jobs?created_after=1700000000", {}, 422, "invalid_argument", "created_after"),
    (
        "a time without a zone",
        "GET",
        "/api/v1/jobs?created_before=2026-01-01T00:00:00",
        {},
        422,
        "invalid_argument",
        "created_before",
    ),
    (
        "a day that there is not",
        "GET",
        "/api/v1/jobs?created_before=2026-02-30T00:00:00Z",
        {},
        422,
        "invalid_argument",
        "created_before",
    ),
    (
        "a time before all times",
        "GET",
        "/api/v1/jobs?created_after=0001-01-01T00:00:00%2B23:00",
        {},
        422,
        "invalid_argument",
        "created_after",
    ),
    ("an unknown filter", "GET", "/api/v1/jobs?statuss=failed", {}, 422, "invalid_argument", "statuss"),
    ("an empty key", "GET", "/api/v1/jobs", {"Authorization": ""}, 401, "unauthenticated", "API key"),
    ("a wrong key", "GET", "/api/v1/jobs", {"Authorization": "Bearer mg_other"}, 401, "api_key_invalid", "API key"),
    ("a key that can be none", "GET", "/api/v1/jobs", {"Authorization": "Bearer ä".encode()}, 401, "unauthenticated", "API key"),
    ("a key without end", "GET", "/api/v1/jobs", {"Authorization": "Bearer " + "a" * 2000}, 401, "unauthenticated", "API key"),
    ("the wrong method", "DELETE", f"/api/v1/jobs/{JOB}", {}, 405, "method_not_allowed", "GET"),
    ("a create by PUT", "PUT", "/api/v1/jobs", {}, 405, "method_not_allowed", "GET, POST"),
    ("a cancel by GET", "GET", f"/api/v1/jobs/{JOB}:cancel", {}, 405, "method_not_allowed", "POST"),
    ("a read of generate", "GET", "/api/v1/generate", {}, 405, "method_not_allowed", "POST"),
    ("a method nobody knows", "PROPFIND", "/api/v1/jobs", {}, 405, "method_not_allowed", "GET, POST"),
    (
        "an empty idempotency key",
        "POST",
        "/api/v1/jobs",
        {**JSON, "Idempotency-Key": ""},
        422,
        "invalid_argument",
        "Idempotency-Key",
    ),
    ("a key with a space", "POST", "/api/v1/jobs", {**JSON, "Idempotency-Key": "a b"}, 422, "invalid_argument", "Idempotency-Key"),
    (
        "a key that is too long",
        "POST",
        "/api/v1/jobs",
        {**JSON, "Idempotency-Key": "a" * 256},
        422,
        "invalid_argument",
        "Idempotency-Key",
    ),
    (
        "a form",
        "POST",
        "/api/v1/jobs",
        {"Content-Type": "application/x-www-form-urlencoded"},
        415,
        "unsupported_media_type",
        "application/json",
    ),
    (
        "JSON under a false name",
        "POST",
        "/api/v1/jobs",
        {"Content-Type": "text/plain"},
        415,
        "unsupported_media_type",
        "text/plain",
    ),
    ("a body of no type", "POST", "/api/v1/jobs", {}, 415, "unsupported_media_type", "application/json"),
]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code", "said"), [row[1:] for row in REQUESTS], ids=[row[0] for row in REQUESTS]
)
async def test_a_request_that_makes_no_sense_is_refused_and_told_why(gateway, method, path, headers, status, code, said):
    content = b'{"prompt": "a"}' if method == "POST" else None
    answer = await gateway.http.request(method, path, headers=headers, content=content)
    problem = check_problem(answer, status, code)
    if problem.errors:
        assert said in [error.field for error in problem.errors]
    else:
        assert said in problem.detail
    if status == 405:
        assert answer.headers["allow"] == said
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
    assert not gateway.jobs.jobs


async def test_two_idempotency_keys_are_one_too_many(gateway):
    headers = [("Content-Type", "application/json"), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    check_problem(await gateway.http.post("/api/v1/jobs", content=b'{"prompt": "a"}', headers=headers), 422, "invalid_argument")


async def test_without_a_key_it_is_jobs_that_refuses(gateway):
    answer = await gateway.nobody.get("/api/v1/jobs")
    check_problem(answer, 401, "api_key_missing")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_body_that_is_too_large_is_refused_while_it_arrives_in_pieces(gateway):
    async def pieces():
        for _ in range(300):
            yield b" " * 1024

    answer = await gateway.http.post("/api/v1/jobs", content=pieces(), headers=JSON)
    check_problem(answer, 413, "body_too_large")
    assert answer.headers["connection"] == "close"


async def test_a_body_without_end_is_cut_off(gateway):
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n")
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(20):
            while True:
                writer.write(b" " * 1_000_000)
                await writer.drain()
    writer.close()
    reader.feed_eof()
