"""A generator at work, on the whole system."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Callable
from typing import Any

import psutil
import pytest
from PIL import Image

from client import Client
from stack import Stack
from waiting import holds, until

Connect = Callable[[Stack], Client]
MEGABYTE = 1024 * 1024


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    clients: list[Client] = []

    def new(stack: Stack) -> Client:
        clients.append(Client(stack))
        return clients[-1]

    yield new
    for client in clients:
        await client.http.aclose()


def when(prompt: str, effect: str, **fields: Any) -> dict[str, Any]:
    """A fault for the job whose prompt holds that word."""
    return {"effect": effect, "when": {"prompt": prompt}, **fields}


async def test_a_prompt_becomes_a_stored_picture_whose_size_and_sha256_are_those_of_its_bytes(
    stack: Stack, connect: Connect
) -> None:
    client = connect(stack)
    job = await client.finished(await client.post())
    assert job["status"] == "completed", job
    output = job["outputs"][0]
    picture = await client.output(job)
    assert (output["size"], output["sha256"]) == (len(picture), hashlib.sha256(picture).hexdigest())
    with Image.open(io.BytesIO(picture)) as image:
        assert (output["width"], output["height"]) == image.size
    ledger = await client.ledger()
    assert (ledger["creates"], ledger["posts"], ledger["authorization_seen_on_files"]) == (1, 1, False)


async def test_each_way_in_which_an_output_cannot_be_stored_has_its_own_error_code(
    start_stack: Callable[..., Stack], connect: Connect
) -> None:
    stack = start_stack(1, SIMULATOR_PREDICT_SECONDS="0.2", GENERATOR_MAX_OUTPUT_BYTES=str(MEGABYTE))
    client = connect(stack)
    faults = {
        "output_truncated": [{"effect": "file_truncated"}],
        "output_too_large": [{"effect": "file_big", "size": 2 * MEGABYTE}],
        "output_not_media": [{"effect": "file_html"}],
        "output_forbidden_address": [{"effect": "file_redirect", "to": "http://127.0.0.1:1/secret"}],
        "output_expired": [{"effect": "file_answer", "status": 404}],
        "output_missing": [{"effect": "prediction_output", "shape": "null"}],
    }
    unsized = {"effect": "file_big", "size": 2 * MEGABYTE, "length": False}
    metadata = {"effect": "file_redirect", "to": "http://169.254.169.254/latest/meta-data"}
    mine = {"effect": "prediction_output", "shape": "json", "value": [f"{stack.worker_address}", "http://10.0.0.1/x.png"]}
    rules = [when(code, **rule) for code, [rule] in faults.items()]
    rules += [when("unsized", **unsized), when("metadata", **metadata), when("elsewhere", **mine)]
    await client.faults(*rules)
    expected = {code: code for code in faults}
    expected |= {"unsized": "output_too_large", "metadata": "output_forbidden_address", "elsewhere": "output_forbidden_address"}
    jobs = {word: await client.post(prompt=word) for word in expected}
    ended = {word: await client.finished(job_id) for word, job_id in jobs.items()}
    assert {word: (job["status"], job["error_code"]) for word, job in ended.items()} == {
        word: ("failed", code) for word, code in expected.items()
    }
    assert all(job["error_message"] for job in ended.values())
    assert (await client.ledger())["creates"] == len(expected)  # none was paid for twice


async def test_outputs_of_every_shape_are_stored(start_stack: Callable[..., Stack], connect: Connect) -> None:
    stack = start_stack(1, SIMULATOR_PREDICT_SECONDS="0.2")
    client = connect(stack)
    shapes = ["string", "list", "nested", "data_uri"]
    rules = [when(f"shape-{shape}", "prediction_output", shape=shape) for shape in shapes]
    rules += [
        when("in-words", "prediction_output", shape="json", value=["a ", "lighthouse"]),
        when("in-numbers", "prediction_output", shape="json", value={"score": 0.5}),
        when("chunked", "file_chunked"),
        when("once-broken", "file_truncated", times=2),
        when("once-away", "file_answer", status=503, times=2),
        when("redirected", "file_redirect", times=2),
    ]
    await client.faults(*rules)
    files = [*(f"shape-{shape}" for shape in shapes), "chunked", "once-broken", "once-away", "redirected"]
    jobs = {word: await client.post(prompt=word) for word in [*files, "in-words", "in-numbers"]}
    ended = {word: await client.finished(job_id) for word, job_id in jobs.items()}
    assert {job["status"] for job in ended.values()} == {"completed"}, ended
    for word in files:
        picture = await client.output(ended[word])
        assert ended[word]["outputs"][0]["sha256"] == hashlib.sha256(picture).hexdigest()
        assert ended[word]["outputs"][0]["content_type"].startswith("image/")
    words, numbers = ended["in-words"]["outputs"][0], ended["in-numbers"]["outputs"][0]
    assert (words["content_type"], words["value"]) == ("text/plain", "a lighthouse")
    assert (numbers["content_type"], numbers["value"]) == ("application/json", {"score": 0.5})


async def test_memory_stays_flat_while_an_output_of_200_mb_passes(start_stack: Callable[..., Stack], connect: Connect) -> None:
    stack = start_stack(1, SIMULATOR_PREDICT_SECONDS="0.2")
    client = connect(stack)
    await client.finished(await client.post())  # everything is loaded and warm
    process = psutil.Process(stack.pid("generator-1"))
    before = highest = process.memory_info().rss
    await client.faults({"effect": "file_big", "size": 200 * MEGABYTE})
    finished = asyncio.create_task(client.finished(await client.post(prompt="a very large one")))
    while not finished.done():
        highest = max(highest, process.memory_info().rss)
        await asyncio.sleep(0.02)
    job = finished.result()
    assert (job["status"], job["outputs"][0]["size"]) == ("completed", 200 * MEGABYTE), job
    assert highest - before < 24 * MEGABYTE


async def test_a_create_that_is_refused_or_fails_ends_as_the_table_says(
    start_stack: Callable[..., Stack], connect: Connect
) -> None:
    stack = start_stack(1, SIMULATOR_PREDICT_SECONDS="0.2", JOBS_TIME_SCALE="0.1")
    client = connect(stack)
    await client.faults(
        when("forbidden", "create_answer", answer="forbidden"),
        when("nothing", "create_answer", answer="not_found"),
        when("nsfw", "prediction_ends", status="failed", error="NSFW content detected. (E005)"),
        when("broken", "prediction_ends", status="failed", error="list index out of range"),
        when("shaky", "prediction_ends", status="failed", error="Prediction interrupted; please retry (code: PA)", times=1),
        when("throttled", "create_answer", answer="throttled", retry_after=1, times=2),
        when("aborted", "prediction_ends", status="aborted", times=1),
        when("ended", "prediction_ends", status="canceled"),
        when("reset", "create_reset", accepted=False, times=1),
        when("vanished", "create_reset", accepted=True, times=1),
        when("gateway", "create_answer", answer="bad_gateway", accepted=True, times=1),
    )
    expected = {
        "forbidden": ("failed", "model_forbidden", 0),
        "nothing": ("failed", "model_not_found", 0),
        "nsfw": ("failed", "content_rejected", 0),
        "broken": ("failed", "model_error", 0),
        "ended": ("failed", "provider_timeout", 0),
        "shaky": ("completed", None, 1),
        "throttled": ("completed", None, 0),
        "aborted": ("completed", None, 0),
        "reset": ("completed", None, 0),
        "vanished": ("completed", None, 0),
        "gateway": ("completed", None, 0),
    }
    jobs = {word: await client.post(prompt=word) for word in expected}
    ended = {word: await client.finished(job_id) for word, job_id in jobs.items()}
    assert {word: (job["status"], job["error_code"], job["retry_count"]) for word, job in ended.items()} == expected
    made = [one["prompt"] for one in (await client.ledger())["predictions"]]
    assert {word: made.count(word) for word in expected} == {
        **{word: 1 for word in expected},
        **{"forbidden": 0, "nothing": 0, "shaky": 2, "aborted": 2},
    }


async def test_while_the_bucket_is_away_nothing_is_paid_for_and_what_was_paid_for_waits(
    start_stack: Callable[..., Stack], connect: Connect, servers: Any
) -> None:
    stack = start_stack(1, SIMULATOR_PREDICT_SECONDS="5", JOBS_TIME_SCALE="0.2")  # the bucket is gone before it ends
    client = connect(stack)
    first = await client.post(prompt="paid for")

    async def paid() -> int:
        return int((await client.ledger())["creates"])

    async def wait_both() -> bool:
        return [(await client.job(job_id))["status"] for job_id in (first, second)] == ["processing", "pending"]

    await until(paid)
    servers.object_store.kill()
    await until(lambda: "bucket.refuses" in stack.log("generator-1"))
    second = await client.post(prompt="waits")
    await holds(wait_both, seconds=3)
    servers.object_store.start()
    servers.object_store.wait()
    assert [(await client.finished(job_id))["status"] for job_id in (first, second)] == ["completed", "completed"]
    assert (await client.ledger())["creates"] == 2
