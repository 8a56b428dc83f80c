"""/metrics of a running system: every metric of the page is exported by the services that it names, and what it says is true."""

import asyncio
import re
from collections.abc import Callable

import httpx
from prometheus_client.parser import text_string_to_metric_families

from client import Client
from services import ROOT
from signing import SECRET
from stack import Stack
from waiting import until

JOBS = 40
QUEUE = "mediagen.jobs.v1.JobsReady"
PAGE = (ROOT / "docs" / "metrics.md").read_text().split("<!--")[1]


class Scrape:
    """What one service exported."""

    def __init__(self, text: str) -> None:
        self.size = len(text)
        self.samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        self.names = {sample.name for sample in self.samples}

    def total(self, name: str, **labels: str) -> float:
        """The sum over all series that have these labels."""
        found = [sample.value for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items()]
        assert found, f"no {name} {labels}"
        return sum(found)

    def has(self, name: str, kind: str) -> bool:
        return (f"{name}_bucket" if kind == "histogram" else name) in self.names


async def scrape(stack: Stack, part: str) -> Scrape:
    async with httpx.AsyncClient(timeout=30) as http:
        return Scrape((await http.get(f"{stack.metrics_url(part)}/metrics")).raise_for_status().text)


def documented(service: str) -> list[tuple[str, str]]:
    """Name and type of each metric that the page says the service exports."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| [^|]* \| ([\w, ]+) \|", PAGE, re.MULTILINE)
    return [(name, kind) for name, kind, of in rows if service in of.split(", ")]


async def test_what_is_exported_under_load_is_what_the_page_says_and_true(start_stack: Callable[..., Stack]) -> None:
    stack = start_stack(
        generators=2,
        JOBS_TIME_SCALE="0.1",
        SIMULATOR_PREDICT_SECONDS="0.5",
        GATEWAY_REPLICATE_WEBHOOK_SECRET=SECRET,
    )
    client = Client(stack)
    await client.faults({"effect": "create_answer", "answer": "throttled_about", "retry_after": 1, "times": 2})
    ids = await client.post_many([f"boat {number}" for number in range(JOBS)])
    key = {"Idempotency-Key": "once"}
    again = [await client.http.post("/api/v1/jobs", json={"prompt": "a boat"}, headers=key) for _ in range(2)]
    ids.append(again[0].json()["id"])
    jobs = await asyncio.gather(*(client.finished(job_id) for job_id in ids))
    assert {job["status"] for job in jobs} == {"completed"}
    await client.output(jobs[0])
    await client.http.get("/api/v1/jobs/no-id")

    async def settled() -> dict[str, Scrape] | None:
        """All services once the gauges have caught up."""
        parts = {part: await scrape(stack, part) for part in ("gateway", "jobs", "generator-1", "generator-2")}
        jobs = parts["jobs"]
        idle = jobs.total("mediagen_jobs_unfinished") == 0 and jobs.total("mediagen_worker_slots_free") == 200
        return parts if idle and jobs.total("mediagen_rabbitmq_queue_consumers", queue=QUEUE) == 2 else None

    parts = await until(settled, 60)
    assert parts is not None
    for part, scraped in parts.items():
        missing = [name for name, kind in documented(part.partition("-")[0]) if not scraped.has(name, kind)]
        assert missing == [], part
        assert scraped.size < 500_000, part
    _assert_true_of_gateway(parts["gateway"])
    _assert_true_of_jobs(parts["jobs"])
    await _assert_true_of_generators(client, parts["generator-1"], parts["generator-2"])
    await client.http.aclose()


def _assert_true_of_gateway(gateway: Scrape) -> None:
    requests = "mediagen_http_requests_total"
    assert gateway.total(requests, route="/api/v1/jobs", method="POST", code="202") == JOBS + 2
    assert gateway.total(requests, route="/api/v1/jobs/{job_id}", code="422") == 1
    assert gateway.total("mediagen_http_request_seconds_count", route="/api/v1/jobs", method="POST") == JOBS + 2
    assert gateway.total("mediagen_http_response_bytes_total", route="/api/v1/images/{job_id}/{index}") > 1000
    assert gateway.total("mediagen_s3_requests_total", method="GET") == 1
    assert gateway.total("mediagen_build_info", component="gateway") == 1
    routes = {sample.labels["route"] for sample in gateway.samples if sample.name == requests}
    assert not [route for route in routes if re.search(r"[0-9a-f]{8}-|no-id", route)]


def _assert_true_of_jobs(jobs: Scrape) -> None:
    assert jobs.total("mediagen_jobs_accepted_total") == jobs.total("mediagen_jobs_accept_batch_sum") == JOBS + 1
    assert jobs.total("mediagen_jobs_replayed_total") == 1
    assert jobs.total("mediagen_jobs_finished_total", status="completed") == JOBS + 1
    assert jobs.total("mediagen_job_duration_seconds_count") == JOBS + 1
    assert jobs.total("mediagen_jobs_transitions_total", to_state="succeeded") == JOBS + 1
    assert jobs.total("mediagen_jobs_transitions_total", verb="rate_limit") == 2
    at_once = jobs.total("mediagen_jobs_begun_at_once_total")
    assert at_once > 0
    assert at_once + jobs.total("mediagen_jobs_claim_batch_sum") >= JOBS + 1 + 2  # those that were refused once began twice
    assert jobs.total("mediagen_jobs_predict_seconds_total") > 0.2 * JOBS
    assert jobs.total("mediagen_jobs_webhooks_total") > 0
    assert jobs.total("grpc_server_handled_total", grpc_method="BatchCreateJobs", grpc_code="OK") >= 1
    assert jobs.total("grpc_server_started_total", grpc_service="mediagen.jobs.v1.WorkerService", grpc_method="Claim") >= 1
    assert jobs.total("mediagen_workers") == 2
    assert jobs.total("mediagen_worker_slots") == jobs.total("mediagen_worker_slots_free") == 200
    assert (jobs.total("mediagen_db_up"), jobs.total("mediagen_db_pool_size")) == (1, 10)
    assert jobs.total("mediagen_lane_creates_per_minute") == 600
    assert jobs.total("mediagen_rabbitmq_queue_messages", queue=QUEUE) == 0
    assert jobs.total("mediagen_rabbitmq_queue_messages", queue=f"{QUEUE}.dead") == 0
    assert jobs.total("mediagen_rabbitmq_confirm_seconds_count") == jobs.total("mediagen_rabbitmq_published_total") > 0


async def _assert_true_of_generators(client: Client, *generators: Scrape) -> None:
    def total(name: str, **labels: str) -> float:
        return sum(generator.total(name, **labels) for generator in generators)

    creates = total("mediagen_generator_replicate_requests_total", call="create", code="201")
    assert creates == (await client.ledger())["creates"] == JOBS + 1
    assert total("mediagen_generator_replicate_requests_total", call="create", code="429") == 2
    assert total("mediagen_generator_jobs_ended_total", outcome="completed") == JOBS + 1
    assert total("mediagen_generator_prediction_seconds_count") == JOBS + 1
    assert total("mediagen_generator_outputs_total", kind="image") >= JOBS + 1
    assert total("mediagen_generator_upload_bytes_total") > 1000 * JOBS
    assert total("mediagen_s3_requests_total", method="PUT", code="200") > JOBS
    assert total("mediagen_generator_predictions_in_flight") == total("mediagen_generator_creates_in_flight") == 0


async def test_a_scrape_is_cheap(stack: Stack) -> None:
    for part in ("gateway", "jobs", "generator-1"):
        before = await scrape(stack, part)
        for _ in range(20):
            await scrape(stack, part)
        after = await scrape(stack, part)
        spent = after.total("process_cpu_seconds_total") - before.total("process_cpu_seconds_total")
        print(f"{part}: {after.size} bytes, {len(after.samples)} series, {spent / 21 * 1000:.1f} ms of CPU a scrape")
        assert spent / 21 < 0.1  # of a second of CPU, on a busy machine
