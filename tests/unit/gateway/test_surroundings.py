"""What every request and answer has: ids, headers, log lines, metrics; health, documents, CORS; and `jobs` away."""

import re

import grpc
import httpx
import pytest
import structlog
from prometheus_client import REGISTRY

from chassis.errors import AppError
from gateway import middleware


@pytest.fixture
def lines(monkeypatch):
    """The log lines of the gateway's surroundings, as they are written."""
    capture = structlog.testing.LogCapture()
    logger = structlog.wrap_logger(None, processors=[structlog.contextvars.merge_contextvars, capture])
    monkeypatch.setattr(middleware, "log", logger)
    return capture.entries


async def test_a_request_id_is_taken_over_everywhere(gateway, lines):
    answer = await gateway.http.get("/api/v1/jobs", headers={"X-Request-Id": "my.id_1-a"})
    assert answer.headers["x-request-id"] == "my.id_1-a"
    assert gateway.jobs.calls["ListJobs"][0][1]["x-request-id"] == "my.id_1-a"
    assert [line["request_id"] for line in lines] == ["my.id_1-a"]


@pytest.mark.parametrize("bad", ["a b", "a" * 129, "", "ä".encode(), 'a"b'])
async def test_a_request_id_that_is_not_sane_is_replaced(gateway, bad):
    answer = await gateway.http.get("/livez", headers={"X-Request-Id": bad})
    assert len(answer.headers["x-request-id"]) == 32


async def test_a_trace_is_passed_on_where_it_is_valid_and_otherwise_one_is_begun_that_is_not_sampled(gateway, lines):
    good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for trace in (good, good.replace("00-", "ff-"), "00-" + "0" * 32 + "-b7ad6b7169203331-01", "x"):
        await gateway.http.get("/api/v1/jobs", headers={"traceparent": trace})
    passed_on = [metadata.get("traceparent") for _, metadata in gateway.jobs.calls["ListJobs"]]
    assert passed_on[0] == good
    assert all(re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", begun) for begun in passed_on[1:])
    assert len(set(passed_on)) == 4
    assert [line["trace_id"] for line in lines] == [one.split("-")[1] for one in passed_on]


async def test_no_log_line_holds_the_access_token_of_a_link(gateway, lines, caplog, capsys):
    path = "/api/v1/images/019a3c5e-7d1f-7c3a-9a55-2f0d6b1c8e47/0"
    for sig in ("token-0", "secretsig", "s" * 600):
        await gateway.http.get(f"{path}?sig={sig}")
    logged = f"{lines}{caplog.text}{capsys.readouterr()}"
    assert [line["path"] for line in lines] == [path] * 3
    assert all(word not in logged for word in ("token-0", "secretsig", "sss"))


async def test_every_answer_is_counted_by_its_route_and_never_by_its_path(gateway):
    labels = {"route": "/api/v1/jobs/{job_id}", "method": "GET", "code": "422"}
    before = REGISTRY.get_sample_value("mediagen_http_requests_total", labels) or 0
    await gateway.http.get("/api/v1/jobs/no-id")
    assert REGISTRY.get_sample_value("mediagen_http_requests_total", labels) == before + 1
    await gateway.http.request("PROPFIND", "/nowhere")
    assert REGISTRY.get_sample_value("mediagen_http_requests_total", {"route": "unmatched", "method": "other", "code": "404"})
    routes = {
        sample.labels["route"] for metric in REGISTRY.collect() for sample in metric.samples if "http_requests_total" in sample.name
    }
    assert not any("no-id" in route or "nowhere" in route for route in routes)


async def test_answers_are_not_kept_sniffed_or_told_to_other_sites(gateway):
    answer = await gateway.http.get("/api/v1/jobs")
    assert answer.headers["cache-control"] == "no-store" and answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer" and "default-src 'none'" in answer.headers["content-security-policy"]
    assert "server" not in answer.headers


async def test_health_says_whether_jobs_answers(gateway):
    assert (await gateway.http.get("/livez")).text == (await gateway.http.get("/readyz")).text == "ok"
    gateway.complaint = "jobs does not answer"
    answer = await gateway.http.get("/readyz")
    assert answer.status_code == 503 and answer.text == "jobs does not answer"
    assert (await gateway.http.get("/livez")).status_code == 200


async def test_the_documents_need_nothing_from_elsewhere(gateway):
    assert (await gateway.http.get("/")).headers["location"] == "docs"
    page = await gateway.http.get("/docs")
    assert page.status_code == 200 and "http:" not in page.text and "https:" not in page.text and "//" not in page.text
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js", "favicon-32x32.png"):
        assert f"docs/{name}" in page.text
        assert (await gateway.http.get(f"/docs/{name}")).status_code == 200
    for name in ("..%2f..%2fsettings.py", "index.html"):
        assert (await gateway.http.get(f"/docs/{name}")).status_code == 404


async def test_the_openapi_document_is_whole(gateway):
    document = (await gateway.http.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    operations = {
        (method, path): operation for path, operations in document["paths"].items() for method, operation in operations.items()
    }
    assert set(operations) == {
        ("post", "/api/v1/generate"),
        ("post", "/api/v1/jobs"),
        ("get", "/api/v1/jobs"),
        ("get", "/api/v1/jobs/{job_id}"),
        ("get", "/api/v1/status/{job_id}"),
        ("post", "/api/v1/jobs/{job_id}:cancel"),
        ("get", "/api/v1/images/{job_id}/{index}"),
    }
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations)
    references = {word for word in str(document).replace("'", " ").split() if word.startswith("#/components/schemas/")}
    assert {reference.rsplit("/", 1)[1] for reference in references} <= set(document["components"]["schemas"])
    for (_, path), operation in operations.items():
        assert "401" in operation["responses"], path
        if "{job_id}" in path:
            assert "job_id" in [parameter["name"] for parameter in operation["parameters"]], path


FAILURES = [
    (
        AppError(grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE", "db at 10.0.0.7 is gone", retry_after_seconds=2.2),
        503,
        "unavailable",
        "3",
    ),
    (AppError(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "at 10.0.0.7"), 503, "deadline_exceeded", "1"),
    (
        AppError(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_WAITING_JOBS", "Full.", retry_after_seconds=7),
        429,
        "too_many_waiting_jobs",
        "7",
    ),
    (AppError(grpc.StatusCode.INTERNAL, "INTERNAL", "at 10.0.0.7"), 500, "internal", None),
    (AppError(grpc.StatusCode.PERMISSION_DENIED, "NOT_YOURS", "No."), 403, "not_yours", None),
]


@pytest.mark.parametrize(("failure", "status", "code", "retry_after"), FAILURES, ids=[row[2] for row in FAILURES])
async def test_a_failure_of_jobs_becomes_a_problem_without_its_insides(gateway, failure, status, code, retry_after):
    gateway.jobs.fail = failure
    for answer in (await gateway.http.get("/api/v1/jobs"), await gateway.http.post("/api/v1/jobs", json={"prompt": "a"})):
        assert answer.status_code == status and answer.json()["code"] == code
        assert answer.headers.get("retry-after") == retry_after
        assert "10.0.0.7" not in answer.text


@pytest.mark.parametrize(("method", "verb"), [("cancel", ":cancel"), ("get", "")], ids=["by FastAPI", "ahead of it"])
async def test_what_nobody_foresaw_is_a_problem_too_and_tells_nothing(gateway, lines, monkeypatch, method, verb):
    async def broken(*_):
        raise ZeroDivisionError("a secret of ours")

    monkeypatch.setattr(gateway.client, method, broken)
    path = f"/api/v1/jobs/019a3c5e-7d1f-7c3a-9a55-2f0d6b1c8e47{verb}"
    answer = await gateway.http.request("POST" if verb else "GET", path, headers={"Origin": "https://app.example.com"})
    assert answer.status_code == 500 and answer.json()["code"] == "internal" and "secret" not in answer.text
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
    assert [line["event"] for line in lines] == ["http.failed", "http.request"]


async def test_only_the_origins_of_the_setting_may_call_from_a_browser(gateway):
    async def preflight(origin: str) -> httpx.Response:
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        return await gateway.http.options("/api/v1/jobs", headers=headers)

    assert (await preflight("https://app.example.com")).headers["access-control-allow-origin"] == "https://app.example.com"
    assert "access-control-allow-origin" not in (await preflight("https://evil.example.com")).headers
    answer = await gateway.http.get("/livez", headers={"Origin": "https://app.example.com"})
    exposed = answer.headers["access-control-expose-headers"]
    assert all(name in exposed for name in ("Location", "ETag", "Retry-After", "X-Request-Id", "Link"))


async def test_probes_are_no_part_of_the_objectives(gateway):
    def counted() -> float:
        samples = [one for family in REGISTRY.collect() for one in family.samples]
        return sum(
            one.value for one in samples if one.name in ("mediagen_http_requests_total", "mediagen_http_request_seconds_count")
        )

    before = counted()
    for path in ("/livez", "/readyz"):
        await gateway.http.get(path)
    assert counted() == before
    await gateway.http.get("/api/v1/jobs")
    assert counted() == before + 2
