"""Webhooks on the whole system, at the protocol's real times: what they speed up, and that nothing depends on them."""

import datetime
import re
import statistics

import asyncpg
import orjson
import pytest

from client import Client
from history.checker import check
from history.collect import collect
from history.recorder import Recorder
from signing import SECRET, signed
from waiting import until

pytestmark = pytest.mark.alone

WEBHOOKS = {"GATEWAY_REPLICATE_WEBHOOK_SECRET": SECRET, "SIMULATOR_PREDICT_SECONDS": "15"}
"""Predictions that are polled every 3 to 5 s when they end."""

FAST = {
    "GATEWAY_REPLICATE_WEBHOOK_SECRET": SECRET,
    "JOBS_TIME_SCALE": "0.1",
    "JOBS_CREATES_PER_MINUTE": "0",
    "JOBS_READS_PER_MINUTE": "0",
    "SIMULATOR_CREATES_PER_MINUTE": "0",
    "SIMULATOR_READS_PER_MINUTE": "0",
    "SIMULATOR_PREDICT_SECONDS": "1",
    "SIMULATOR_WEBHOOK_RETRY_SECONDS": "10",
}

PROMPT = "a secret garden under glass"


def moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


async def delays(client: Client) -> list[float]:
    """How long after its end each prediction was seen to have ended, in seconds."""
    ended = {row["id"]: moment(row["completed_at"]) for row in (await client.ledger())["predictions"]}
    lines = "".join(client.stack.log(name) for name in client.stack.parts if name.startswith("generator")).splitlines()
    seen = [line for line in map(orjson.loads, lines) if line["event"] == "prediction.ended"]
    return sorted((moment(line["timestamp"]) - ended[line["prediction_id"]]).total_seconds() for line in seen)


async def test_a_completed_prediction_is_seen_within_a_second(start_client):
    client = start_client(generators=3, **WEBHOOKS)
    await client.post_many([f"{PROMPT} {n}" for n in range(24)], parameters={"megapixels": "0.25"})
    await client.all_finished(24, seconds=90)
    taken = await delays(client)
    print(f"a prediction's end was seen after {statistics.median(taken):.2f} s in the median, {taken[-1]:.2f} s at worst")
    assert len(taken) == 24
    assert statistics.median(taken) < 1
    assert taken[-1] < 2.5  # a machine that is busy otherwise
    ledger = await client.ledger()
    assert ledger["creates"] == 24
    assert ledger["webhooks"] == {"sent": 48, "acknowledged": 48}


@pytest.mark.parametrize(
    "fault",
    [{"effect": "create_reset", "accepted": True}, {"effect": "create_late", "seconds": 40}],
    ids=["reset after it was made", "answered after its timeout"],
)
async def test_a_create_of_unknown_outcome_is_resolved_within_three_seconds(start_client, postgres_url, fault):
    client = start_client(generators=2, **WEBHOOKS)
    await client.faults({**fault, "times": 1}, {"effect": "list_lag", "seconds": 600})  # no look-up finds it sooner
    job_id = await client.post(PROMPT)
    job = await client.finished(job_id, seconds=90)
    assert job["status"] == "completed"
    assert (await client.ledger())["creates"] == 1
    database = await asyncpg.connect(postgres_url)
    events = await database.fetch("SELECT to_state, at FROM job_events WHERE job_id = $1 ORDER BY version", job_id)
    await database.close()
    at = {event["to_state"]: event["at"] for event in reversed(events)}
    assert at["submitted"] - at["unknown"] < datetime.timedelta(seconds=3)
    assert "hint.recorded" in client.stack.log("generator-1") + client.stack.log("generator-2")


async def generate(stack, prompts: list[str]) -> list[str]:
    """Has all of them generated, and returns what the history checker finds wrong then."""
    recorder = Recorder(stack)
    try:
        await recorder.post_many(prompts, parameters={"megapixels": "0.25"})
        await recorder.all_finished(seconds=120)
        return [str(violation) for violation in check(await collect(stack, recorder))]
    finally:
        await recorder.aclose()


def lost_creates() -> list[dict]:
    return [{"effect": "create_reset", "accepted": True, "probability": 0.2, "times": 6}]


async def test_webhooks_that_are_all_lost_cost_nothing_but_time(start_client):
    client = start_client(generators=2, **FAST)
    await client.faults({"effect": "webhook_lost"}, *lost_creates())
    assert await generate(client.stack, [f"lost {n // 2}" for n in range(40)]) == []
    ledger = await client.ledger()
    assert (ledger["creates"], ledger["webhooks"]["sent"]) == (40, 0)


async def test_webhooks_that_come_late_twice_in_any_order_forged_stale_or_about_others_do_no_harm(start_client):
    client = start_client(generators=3, **FAST)
    await client.faults(
        {"effect": "webhook_duplicate", "copies": 2, "seconds": 1, "probability": 0.5},
        {"effect": "webhook_delayed", "seconds": 3, "probability": 0.3},
        {"effect": "webhook_reordered", "probability": 0.3},
        {"effect": "webhook_signature", "kind": "wrong", "probability": 0.1},
        {"effect": "webhook_signature", "kind": "tampered", "probability": 0.1},
        {"effect": "webhook_signature", "kind": "missing", "probability": 0.1},
        {"effect": "webhook_timestamp", "age": 900, "probability": 0.1},
        {"effect": "webhook_timestamp", "age": -900, "probability": 0.1},
        {"effect": "webhook_foreign", "names": "another", "probability": 0.3},
        {"effect": "webhook_foreign", "names": "nobody", "probability": 0.3},
        *lost_creates(),
    )
    assert await generate(client.stack, [f"mixed {n // 2}" for n in range(40)]) == []
    ledger = await client.ledger()
    assert ledger["creates"] == 40

    async def answers() -> set[int | str] | None:
        """Of all that were sent: the last may be on their way when the last job ends."""
        given = {delivery["answer"] for row in (await client.ledger())["predictions"] for delivery in row["deliveries"]}
        return None if None in given else given

    assert await until(answers) == {204, 401}


async def test_neither_secret_nor_token_nor_prompt_is_in_any_log(start_client):
    client = start_client(generators=2, **FAST, JOBS_LOG_LEVEL="debug", GENERATOR_LOG_LEVEL="debug", GATEWAY_LOG_LEVEL="debug")
    await client.faults(*lost_creates())
    await client.post_many([f"{PROMPT} {n}" for n in range(20)], parameters={"megapixels": "0.25"})
    await client.all_finished(20, seconds=60)
    urls = [row["webhook"] for row in (await client.ledger())["predictions"]]
    for url in urls:  # what is refused is logged, too
        answer = await client.http.post(url.replace("token=", "token=x"), content=b"{}", headers=signed(b"{}", age=1000))
        assert answer.status_code == 401
    said = "".join(client.stack.log(name) for name in client.stack.parts)
    assert "webhook.noted" in said
    secrets = {SECRET, PROMPT, *(re.search("token=(.+)", url)[1] for url in urls)}
    assert len(secrets) == 22
    assert [secret for secret in secrets if secret in said] == []
