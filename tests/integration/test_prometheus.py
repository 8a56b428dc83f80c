"""A real Prometheus scrapes a running system under load and a fault: every query of every panel and rule has an answer."""

import asyncio
import math
import re
from collections.abc import Callable

import pytest

from client import Client
from monitoring.metrics import OTHERS, selectors
from monitoring.rule_files import FILES, RULES
from monitoring.test_dashboards import QUERIES
from prometheus import Prometheus, enable_metrics
from rabbitmq import RabbitMQ
from signing import SECRET
from stack import Stack
from waiting import until

JOBS = 30
START_SECONDS = 60
AWAY = ("kube-state-metrics", "kubelet (cAdvisor)", "cert-manager")
"""Who is not there without a cluster."""

NOTHING_YET = {'mediagen_s3_requests_total{code=~"5..|403|none"}'}
"""What nobody counts before it happens; the alert compares it with all requests."""


async def load(client: Client) -> None:
    """Jobs of which one is a replay, one is not there and one create is throttled; and a picture that is looked at."""
    await client.faults({"effect": "create_answer", "answer": "throttled_about", "retry_after": 1, "times": 1})
    ids = await client.post_many([f"boat {number}" for number in range(JOBS)])
    for _ in range(2):
        await client.http.post("/api/v1/jobs", json={"prompt": "a boat"}, headers={"Idempotency-Key": "once"})
    jobs = await asyncio.gather(*(client.finished(job_id, 120) for job_id in ids))
    assert {job["status"] for job in jobs} == {"completed"}
    await client.output(jobs[0])
    assert (await client.http.get(f"/api/v1/jobs/{ids[0][:-4]}0000")).status_code == 404


@pytest.mark.timeout(280)
async def test_every_query_of_every_panel_and_rule_has_an_answer(start_stack: Callable[..., Stack], rabbitmq: RabbitMQ) -> None:
    stack = start_stack(
        generators=2, JOBS_TIME_SCALE="0.3", SIMULATOR_PREDICT_SECONDS="0.5", GATEWAY_REPLICATE_WEBHOOK_SECRET=SECRET
    )
    client = Client(stack)
    prometheus = Prometheus(stack, FILES, {"rabbitmq": enable_metrics(rabbitmq)})
    prometheus.start()
    prometheus.wait(START_SECONDS)
    try:
        await until(lambda: prometheus.query("count(up) == count(up == 1) and count(up) == 5"), START_SECONDS)
        await load(client)
        stack.stop("jobs")
        away = await client.http.get("/api/v1/jobs", timeout=60)
        assert away.status_code == 503
        stack.start_part("jobs")
        await load(client)

        async def unanswered() -> list[str]:
            return [expr for expr in sorted(_asked()) if not await _answered(prometheus, expr)]

        async def all_answered() -> bool:
            return await unanswered() == []

        try:
            await until(all_answered, 60)
        except AssertionError:
            assert await unanswered() == []
    finally:
        prometheus.stop()
        await client.http.aclose()


async def _answered(prometheus: Prometheus, expr: str) -> bool:
    """Whether there is a number, and not only NaN."""
    return any(not math.isnan(value) for value in await prometheus.values(expr))


def _asked() -> set[str]:
    """All that dashboards ask, and each selector of the rules: what they compare with is not reached."""
    exprs = {str(query.values[0]) for query in QUERIES} | {one.text for rule in RULES for one in selectors(rule["expr"])}
    asked = set()
    for expr in exprs:
        if any(one.name in OTHERS[other] for one in selectors(expr) for other in AWAY) or expr in NOTHING_YET:
            continue
        within = expr.replace("$__rate_interval", "5m").replace("$namespace", "media").replace("$release", "demo")
        asked.add(re.sub(r" > 0$", "", within))
    return asked
