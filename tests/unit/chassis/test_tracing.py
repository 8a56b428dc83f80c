"""Spans: whose trace they are of, where they go, and that nobody waits for a collector."""

import asyncio
import logging
import math
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing

import grpc
import pytest
import structlog
from opentelemetry.trace import SpanKind
from pydantic_settings import SettingsConfigDict

import ports
from chassis import tracing
from chassis.errors import AppError
from chassis.settings import TracingSettings, load_settings
from otlp import Collector, collecting
from waiting import until

TRACE = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = f"00-{TRACE}-b7ad6b7169203331-01"
UNSAMPLED = f"00-{TRACE}-b7ad6b7169203331-00"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as started:
        yield started


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    """Nothing of one test's trace is left to the next."""
    yield
    tracing.receive(None)


def settings(endpoint: str | None, **others: object) -> TracingSettings:
    return TracingSettings.model_validate({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **others})


async def test_what_a_task_does_is_one_trace_below_what_was_received(collector: Collector) -> None:
    async with tracing.exporting_traces("tester", settings(collector.endpoint)):
        tracing.receive(SAMPLED)
        with tracing.span("outer", SpanKind.SERVER, {"size": 3}):
            passed_on = tracing.traceparent()
            with tracing.span("inner"):
                pass
    outer, inner = collector.of(TRACE)
    assert (outer.name, outer.service, outer.attributes) == ("outer", "mediagen-tester", {"size": 3})
    assert (outer.parent_id, inner.parent_id) == ("b7ad6b7169203331", outer.span_id)
    assert passed_on == f"00-{TRACE}-{outer.span_id}-01"


async def test_without_an_endpoint_a_trace_is_passed_on_as_it_came() -> None:
    async with tracing.exporting_traces("tester", settings(None)):
        tracing.receive(SAMPLED)
        with tracing.span("outer") as span:
            assert not span.is_recording()
            assert tracing.traceparent() == SAMPLED
        assert structlog.contextvars.get_contextvars()["trace_id"] == TRACE


async def test_where_no_trace_came_and_none_is_exported_an_id_is_made_up_for_the_log() -> None:
    async with tracing.exporting_traces("tester", settings(None)):
        for came in (None, SAMPLED):
            tracing.receive(came)
            tracing.begin()
            assert tracing.valid(tracing.traceparent())
            assert structlog.contextvars.get_contextvars()["trace_id"] == tracing.trace_id(tracing.traceparent())
            assert tracing.traceparent() == came if came else tracing.traceparent().endswith("-00")


async def test_where_traces_are_exported_the_first_span_begins_one(collector: Collector) -> None:
    async with tracing.exporting_traces("tester", settings(collector.endpoint)):
        tracing.receive(None)
        tracing.begin()
        with tracing.span("outer"):
            pass
    [span] = collector.spans
    assert span.parent_id == ""


async def test_of_a_trace_that_its_caller_does_not_sample_nothing_is_exported_here_or_further_on(collector: Collector) -> None:
    async with tracing.exporting_traces("tester", settings(collector.endpoint)):
        tracing.receive(UNSAMPLED)
        with tracing.span("outer"):
            passed_on = tracing.traceparent()
        tracing.record("done", UNSAMPLED, time.time(), SpanKind.PRODUCER, {})
    assert collector.spans == []
    assert passed_on.startswith(f"00-{TRACE}-") and passed_on.endswith("-00")


@pytest.mark.parametrize("strange", ["", "junk; drop", "00-" + "0" * 32 + "-b7ad6b7169203331-01", SAMPLED.replace("00-", "ff-", 1)])
async def test_what_is_no_trace_begins_a_new_one(collector: Collector, strange: str) -> None:
    async with tracing.exporting_traces("tester", settings(collector.endpoint)):
        tracing.receive(SAMPLED)
        tracing.receive(strange)
        with tracing.span("outer"):
            logged = structlog.contextvars.get_contextvars()["trace_id"]
    [span] = collector.spans
    assert (span.parent_id, span.trace_id) == ("", logged)
    assert span.trace_id != TRACE


@pytest.mark.parametrize(("sampler", "share", "spans"), [("always_off", "1", 0), ("traceidratio", "0", 0), ("always_on", "1", 2)])
async def test_the_sampler_decides(collector: Collector, sampler: str, share: str, spans: int) -> None:
    chosen = settings(collector.endpoint, OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=share)
    async with tracing.exporting_traces("tester", chosen):
        for parent in (UNSAMPLED, None):
            tracing.receive(parent)
            with tracing.span("outer"):
                pass
    assert len(collector.spans) == spans


async def test_what_is_recorded_afterwards_belongs_to_its_parent_alone(collector: Collector) -> None:
    async with tracing.exporting_traces("tester", settings(collector.endpoint)):
        tracing.receive(SAMPLED.replace(TRACE, "1" * 32))
        began = time.time() - 5
        tracing.record("sent", SAMPLED, began, SpanKind.PRODUCER, {"size": 1})
        tracing.record("sent", None, began, SpanKind.PRODUCER, {})
    [span] = collector.spans
    assert (span.trace_id, span.parent_id) == (TRACE, "b7ad6b7169203331")
    assert span.ended - span.began == pytest.approx(5e9, rel=0.5)


async def test_a_failure_is_told_by_its_class_and_never_by_its_words(collector: Collector) -> None:
    async with tracing.exporting_traces("tester", settings(collector.endpoint)):
        with pytest.raises(ValueError), tracing.span("outer"):
            raise ValueError("a secret")
    [span] = collector.spans
    assert span.failed == "ValueError"
    assert "secret" not in span.whole


@pytest.mark.parametrize(("code", "failed"), [("NOT_FOUND", None), ("INVALID_ARGUMENT", None), ("UNAVAILABLE", "UNAVAILABLE")])
async def test_an_answer_to_the_caller_is_a_failure_only_where_it_is_the_servers(
    collector: Collector, code: str, failed: str | None
) -> None:
    async with tracing.exporting_traces("tester", settings(collector.endpoint)):
        with pytest.raises(AppError), tracing.span("outer"):
            raise AppError(grpc.StatusCode[code], "A_REASON", "a secret")
    [span] = collector.spans
    assert (span.failed, span.attributes.get("error.type")) == (failed, failed)
    assert "secret" not in span.whole


async def test_the_end_of_a_service_waits_for_no_collector() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        for port in (ports.any_free_port(), silent.getsockname()[1]):
            async with tracing.exporting_traces("tester", settings(f"http://127.0.0.1:{port}")):
                with tracing.span("outer"):
                    pass
                began = time.monotonic()
            assert time.monotonic() - began < 5 * tracing.FLUSH_SECONDS


async def test_a_collector_that_refuses_is_a_line_in_the_log_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    monkeypatch.setattr(tracing._seldom, "_passed_at", -math.inf)
    caplog.set_level(logging.INFO)
    async with collecting(status=400) as refusing, tracing.exporting_traces("tester", settings(refusing.endpoint)):

        async def refused_often() -> bool:
            with tracing.span("outer"):
                await asyncio.sleep(0)
            return refusing.posts >= 5

        await until(refused_often)
    assert len([record for record in caplog.records if record.name.startswith("opentelemetry")]) == 1


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
    ],
)
def test_a_wrong_setting_is_named_as_it_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, wrong: str
) -> None:
    class Prefixed(TracingSettings):
        model_config = SettingsConfigDict(env_prefix="TESTER_", frozen=True)

    monkeypatch.setenv(name, wrong)
    with pytest.raises(SystemExit) as ended:
        load_settings(Prefixed)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"{name}: ")
