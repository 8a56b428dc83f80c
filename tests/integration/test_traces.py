"""One job, one trace: from the client's own span through gateway, jobs, generator and Replicate to the upload; and RabbitMQ."""

import asyncio
import json
import secrets
import socket
import uuid
from collections.abc import Callable
from typing import Any

import grpc

from client import Client
from otlp import Collector, Exported, collecting
from stack import Stack
from waiting import until

FAST = {"SIMULATOR_PREDICT_SECONDS": "0.2", "OTEL_BSP_SCHEDULE_DELAY": "200"}
CLIENT_SPAN = "b7ad6b7169203331"


async def post(client: Client, trace_id: str, flags: str = "01", prompt: str = "a boat") -> str:
    """Posts a job as part of a trace of the client's, and returns its id once it is completed."""
    headers = {"traceparent": f"00-{trace_id}-{CLIENT_SPAN}-{flags}"}
    answer = await client.http.post("/api/v1/generate", json={"prompt": prompt}, headers=headers)
    job = await client.finished(answer.json()["id"])
    assert job["status"] == "completed"
    return job["id"]


def new_trace() -> str:
    return secrets.token_hex(16)


async def whole(collector: Collector, trace_id: str) -> list[Exported]:
    """The spans of a trace once its last ones are there."""

    def complete() -> list[Exported] | None:
        spans = collector.of(trace_id)
        return spans if {"run job", "complete job", "upload output"} <= {span.name for span in spans} else None

    spans = await until(complete, 30, what="the whole trace")
    assert spans is not None
    return spans


def log_lines(stack: Stack, part: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stack.log(part).splitlines() if line.startswith("{")]


async def test_a_job_is_one_connected_trace_to_the_upload(start_stack: Callable[..., Stack]) -> None:
    async with collecting() as collector:
        stack = start_stack(generators=1, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, **FAST)
        client, trace_id = Client(stack), new_trace()
        job_id = await post(client, trace_id)
        spans = await whole(collector, trace_id)

        by_id = {span.span_id: span for span in spans}
        assert {span.service for span in spans} == {"mediagen-gateway", "mediagen-jobs", "mediagen-generator"}
        roots = [span for span in spans if span.parent_id not in by_id]
        assert [(span.name, span.parent_id) for span in roots] == [("POST /api/v1/generate", CLIENT_SPAN)]
        named = {span.name: span for span in spans}

        def path(name: str) -> list[str]:
            span, names = named[name], [name]
            while span.parent_id in by_id:
                span = by_id[span.parent_id]
                names.append(span.name)
            return names

        assert path("accept job") == ["accept job", "POST /api/v1/generate"]
        assert path("run job") == ["run job", "accept job", "POST /api/v1/generate"]
        for name in ("create prediction", "follow prediction", "store outputs"):
            assert path(name)[1] == "run job"
        assert path("upload output")[1:3] == ["download output", "store outputs"]
        assert path("complete job")[1] == "accept job"
        about = {name: named[name].attributes for name in ("accept job", "run job", "complete job")}
        assert {attributes["mediagen.job_id"] for attributes in about.values()} == {job_id}
        assert named["upload output"].attributes["mediagen.bytes"] > 0
        assert all(span.failed is None for span in spans)
        [started] = [line for line in log_lines(stack, "generator-1") if line["event"] == "generator.started"]
        [claimed] = [line for line in log_lines(stack, "jobs") if line["event"] == "job.claimed"]
        [granted] = [line for line in log_lines(stack, "generator-1") if line["event"] == "job.granted"]
        instances = {span.instance for span in spans if span.service == "mediagen-generator"}
        assert {claimed["worker_id"], granted["worker_id"], *instances} == {started["worker_id"]}
        assert started["host"] == socket.gethostname()

        for part in ("gateway", "jobs", "generator-1"):
            lines = [line for line in log_lines(stack, part) if job_id in json.dumps(line)]
            assert lines, part
            assert not [line for line in lines if line.get("job_id") != job_id], part
        for part in ("jobs", "generator-1"):
            lines = [line for line in log_lines(stack, part) if line.get("job_id") == job_id and line["event"] != "http.request"]
            of_reads = [line for line in lines if line.get("trace_id") != trace_id]
            assert not of_reads, (part, of_reads)
        await client.http.aclose()


async def test_a_ring_is_in_the_trace_of_its_job(start_stack: Callable[..., Stack]) -> None:
    async with collecting() as collector:
        stack = start_stack(generators=1, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, **FAST)
        client, trace_id = Client(stack), new_trace()
        await client.faults({"effect": "create_answer", "answer": "throttled_about", "retry_after": 1, "times": 1})
        await post(client, trace_id)  # which is rung for, once it may be tried again
        spans = await whole(collector, trace_id)
        [accept] = [span for span in spans if span.name == "accept job"]
        rings = [span for span in spans if span.name == "send mediagen.jobs.v1.JobsReady"]
        assert rings
        assert {span.parent_id for span in rings} == {accept.span_id}
        assert len([span for span in spans if span.name == "run job"]) == 2
        await client.http.aclose()


async def test_what_failed_is_marked_as_failed_and_an_answer_to_a_callers_mistake_is_not(start_stack: Callable[..., Stack]) -> None:
    async with collecting() as collector:
        stack = start_stack(generators=1, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, **FAST)
        client = Client(stack)
        await client.faults(
            {"effect": "create_answer", "when": {"prompt": "refused"}, "answer": "invalid_input"},
            {"effect": "create_answer", "when": {"prompt": "lost"}, "answer": "bad_gateway"},
        )
        of = {prompt: new_trace() for prompt in ("refused", "lost", "asked")}
        for prompt in ("refused", "lost"):
            headers = {"traceparent": f"00-{of[prompt]}-{CLIENT_SPAN}-01"}
            await client.http.post("/api/v1/generate", json={"prompt": prompt}, headers=headers)
        headers = {"traceparent": f"00-{of['asked']}-{CLIENT_SPAN}-01"}
        assert (await client.http.get(f"/api/v1/status/{uuid.uuid4()}", headers=headers)).status_code == 404

        def named(prompt: str, name: str) -> Exported | None:
            return next((span for span in collector.of(of[prompt]) if span.name.endswith(name)), None)

        for prompt, error, status in (("refused", "invalid_input", 422), ("lost", "outcome_unknown", 502)):
            run = await until(lambda of=prompt: named(of, "run job"), 30, what="the end of the run")
            create = named(prompt, "create prediction")
            assert run and create
            assert (run.failed, create.failed, create.attributes["error.type"]) == (error, error, error)
            assert create.attributes["http.response.status_code"] == status
        call = await until(lambda: named("asked", "GetJob") or named("asked", "BatchGetJobs"), 30, what="the call's span")
        assert call and call.failed is None
        about = {name: value for name, value in call.attributes.items() if name.startswith("rpc.")}
        method = call.name.rpartition("/")[2]
        code = 0 if method == "BatchGetJobs" else grpc.StatusCode.NOT_FOUND.value[0]
        service = "mediagen.jobs.v1.JobsService"
        assert about == {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method, "rpc.grpc.status_code": code}
        await client.http.aclose()


async def test_each_of_many_jobs_that_come_together_keeps_its_own_trace(start_stack: Callable[..., Stack]) -> None:
    async with collecting() as collector:
        stack = start_stack(generators=1, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, **FAST)
        client = Client(stack)
        traces = [new_trace() for _ in range(20)]
        ids = await asyncio.gather(*(post(client, trace_id, prompt=trace_id) for trace_id in traces))
        for trace_id, job_id in zip(traces, ids, strict=True):
            spans = await whole(collector, trace_id)
            jobs = {span.attributes["mediagen.job_id"] for span in spans if "mediagen.job_id" in span.attributes}
            assert jobs == {job_id}
        await client.http.aclose()


async def test_a_trace_that_its_client_does_not_sample_leaves_ids_in_logs_and_no_span(
    start_stack: Callable[..., Stack],
) -> None:
    async with collecting() as collector:
        stack = start_stack(generators=1, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, **FAST)
        client, unsampled, sampled = Client(stack), new_trace(), new_trace()
        job_id = await post(client, unsampled, flags="00")
        await post(client, sampled)
        await whole(collector, sampled)  # exported after whatever the other might have left
        assert collector.of(unsampled) == []
        for part in ("jobs", "generator-1"):
            assert [line for line in log_lines(stack, part) if (line.get("trace_id"), line.get("job_id")) == (unsampled, job_id)]
        await client.http.aclose()


async def test_without_an_endpoint_the_trace_is_in_every_services_log(stack: Stack) -> None:
    client, trace_id = Client(stack), new_trace()
    job_id = await post(client, trace_id)
    for part in ("gateway", "jobs"):
        assert [line for line in log_lines(stack, part) if (line.get("trace_id"), line.get("job_id")) == (trace_id, job_id)]
    generators = log_lines(stack, "generator-1") + log_lines(stack, "generator-2")
    ended = [line for line in generators if line["event"] == "job.completed"]
    assert [(line["trace_id"], line["job_id"]) for line in ended] == [(trace_id, job_id)]
    await client.http.aclose()


async def test_a_job_whose_client_names_no_trace_has_one_in_every_services_log(stack: Stack) -> None:
    client = Client(stack)
    job = await client.finished((await client.http.post("/api/v1/generate", json={"prompt": "a boat"})).json()["id"])
    lines = [line for part in ("jobs", "generator-1", "generator-2") for line in log_lines(stack, part)]
    of_job = [line for line in lines if line.get("job_id") == job["id"] and line["event"] != "http.request"]
    created = [line["trace_id"] for line in of_job if line["event"] == "job.accepted"]
    assert len(created) == 1
    assert {line.get("trace_id") for line in of_job} == set(created)
    posts = [line for line in log_lines(stack, "gateway") if (line.get("method"), line.get("trace_id")) == ("POST", created[0])]
    assert len(posts) == 1
    await client.http.aclose()


async def test_a_collector_that_is_away_costs_no_job_and_no_shutdown(start_stack: Callable[..., Stack]) -> None:
    stack = start_stack(generators=1, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", **FAST)
    client = Client(stack)
    for _number in range(3):
        await post(client, new_trace())
    await client.http.aclose()
    for part in ("gateway", "generator-1", "jobs"):
        await asyncio.to_thread(stack.stop, part)
        assert stack.exit_code(part) == 0, part
        complaints = [line for line in log_lines(stack, part) if "OTLP" in line["event"] or "export" in line["event"]]
        assert len(complaints) <= 1, complaints
