"""Each fault of webhooks does what its rule says, to the messages or the requests that it is for, and nothing more."""

import base64
import hashlib
import hmac
import time
from datetime import datetime

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError
from starlette.responses import Response

from simulator.settings import Settings
from waiting import holds, until

SECRET = Settings().webhook_secret


def verified(arrival):
    try:
        return Webhook(SECRET).verify(arrival.body, arrival.headers)
    except WebhookVerificationError:
        return None


async def struck(simulator, created):
    return {row["id"]: row["faults"] for row in (await simulator.ledger())["predictions"]}[created.json()["id"]]


async def test_a_lost_webhook_never_comes_and_is_not_tried_again(start, receiver):
    simulator = await start(webhook_retry_seconds=0.5)
    await simulator.faults({"effect": "webhook_lost", "events": ["completed"]})
    created = await simulator.told(receiver.url, "start", "completed")
    await simulator.finished(created)
    await until(lambda: simulator.account.webhooks.waiting == 0)
    await holds(lambda: receiver.statuses == ["processing"], 0.7)
    assert await struck(simulator, created) == ["webhook_lost"]


async def test_a_duplicate_has_the_id_of_its_original(simulator, receiver):
    await simulator.faults({"effect": "webhook_duplicate", "copies": 2, "seconds": 0.2, "events": ["completed"]})
    created = await simulator.told(receiver.url, "start", "completed")
    rows = await simulator.deliveries(created, 4)
    assert [row["event"] for row in rows] == ["start", "completed", "completed", "completed"]
    originals = receiver.arrivals[1:]
    assert len({arrival.headers["webhook-id"] for arrival in originals}) == 1
    assert len({arrival.body for arrival in originals}) == 1
    ended = datetime.fromisoformat(originals[0].prediction["completed_at"]).timestamp()
    assert all(copy.at - ended >= 0.2 for copy in originals[1:])
    assert all(verified(arrival) for arrival in receiver.arrivals)
    await holds(lambda: len(receiver.arrivals) == 4, 0.3)


async def test_copies_of_a_webhook_that_is_not_taken_are_not_tried_again_as_well(start, receiver):
    simulator = await start(webhook_retry_seconds=0.3)
    receiver.answer = lambda _: Response(status_code=500)
    await simulator.faults({"effect": "webhook_duplicate"})
    created = await simulator.told(receiver.url, "completed")
    await until(lambda: simulator.account.webhooks.waiting == 0)
    assert len(await simulator.deliveries(created, 2)) <= 7 + 1


async def test_start_may_come_after_completed(simulator, receiver):
    await simulator.faults({"effect": "webhook_reordered"})
    created = await simulator.told(receiver.url, "start", "completed")
    rows = await simulator.deliveries(created, 2)
    assert [row["event"] for row in rows] == ["completed", "start"]
    assert receiver.statuses == ["succeeded", "processing"]
    assert await struck(simulator, created) == ["webhook_reordered"]


async def test_a_start_that_is_kept_back_comes_though_the_end_is_not_told(simulator, receiver):
    await simulator.faults({"effect": "webhook_reordered"})
    await simulator.deliveries(await simulator.told(receiver.url, "start"), 1)
    await simulator.faults({"effect": "webhook_reordered"}, {"effect": "webhook_lost", "events": ["completed"]})
    await simulator.deliveries(await simulator.told(receiver.url, "start", "completed"), 1)
    assert receiver.statuses == ["processing", "processing"]


async def test_a_delayed_webhook_is_late_and_signed_when_it_is_sent(simulator, receiver):
    await simulator.faults({"effect": "webhook_delayed", "seconds": 1.5, "events": ["completed"]})
    created = await simulator.told(receiver.url, "completed")
    await simulator.finished(created)
    ended = datetime.fromisoformat((await simulator.prediction(created))["completed_at"]).timestamp()
    await simulator.deliveries(created, 1)
    [arrival] = receiver.arrivals
    assert arrival.at - ended >= 1.5
    assert int(arrival.headers["webhook-timestamp"]) >= int(ended)
    assert verified(arrival)["status"] == "succeeded"


async def test_what_is_delayed_is_overtaken(simulator, receiver):
    await simulator.faults({"effect": "webhook_delayed", "seconds": 3, "events": ["start"]})
    rows = await simulator.deliveries(await simulator.told(receiver.url, "start", "completed"), 2)
    assert [row["event"] for row in rows] == ["completed", "start"]


@pytest.mark.parametrize(("kind", "taken"), [("wrong", False), ("missing", False), ("tampered", False), ("rotated", True)])
async def test_a_signature_is_spoiled_for_as_many_requests_as_the_rule_says(start, receiver, kind, taken):
    simulator = await start(webhook_retry_seconds=10)
    receiver.answer = lambda arrival: Response(status_code=204 if verified(arrival) else 401)
    await simulator.faults({"effect": "webhook_signature", "kind": kind, "times": 1})
    created = await simulator.told(receiver.url, "completed")
    rows = await simulator.deliveries(created, 1 if taken else 2)
    answers = [(row["answer"], row["faults"]) for row in rows]
    assert answers == ([(204, ["webhook_signature"])] if taken else [(401, ["webhook_signature"]), (204, [])])
    assert receiver.statuses == ["succeeded"] * len(rows), "the body says the truth all the same"


@pytest.mark.parametrize("age", [600, -600])
async def test_an_old_timestamp_is_rightly_signed(simulator, receiver, age):
    await simulator.faults({"effect": "webhook_timestamp", "age": age})
    await simulator.deliveries(await simulator.told(receiver.url, "completed"), 1)
    [arrival] = receiver.arrivals
    assert int(arrival.headers["webhook-timestamp"]) == pytest.approx(time.time() - age, abs=30)
    assert verified(arrival) is None, "it is out of the time limit"
    signed = f"{arrival.headers['webhook-id']}.{arrival.headers['webhook-timestamp']}.".encode() + arrival.body
    assert arrival.headers["webhook-signature"] == signature(signed)


def signature(signed: bytes) -> str:
    digest = hmac.digest(base64.b64decode(SECRET.removeprefix("whsec_")), signed, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


async def test_a_webhook_may_tell_of_another_prediction(simulator, receiver):
    other = (await simulator.create()).json()["id"]
    await simulator.faults({"effect": "webhook_foreign", "when": {"prompt": "[foreign]"}})
    created = await simulator.told(receiver.url, "completed", prompt="[foreign]")
    [row] = await simulator.deliveries(created, 1)
    told = verified(receiver.arrivals[0])
    assert (told["id"], told["urls"]["get"].rpartition("/")[2]) == (other, other)
    assert row["faults"] == ["webhook_foreign"]


async def test_a_webhook_may_tell_of_a_prediction_that_does_not_exist(simulator, receiver):
    await simulator.faults({"effect": "webhook_foreign", "names": "nobody"})
    created = await simulator.told(receiver.url, "completed")
    await simulator.deliveries(created, 1)
    told = verified(receiver.arrivals[0])["id"]
    assert told != created.json()["id"]
    assert (await simulator.client.get(f"/v1/predictions/{told}")).status_code == 404


async def test_rules_about_webhooks_know_models_prompts_and_chances(start, receiver):
    simulator = await start(creates_per_minute=0)
    await simulator.faults(
        {"effect": "webhook_lost", "when": {"prompt": "[lost]"}},
        {"effect": "webhook_lost", "when": {"model": "llama"}},
        {"effect": "webhook_lost", "when": {"prompt": "[half]"}, "probability": 0.5},
    )
    for number in range(60):
        await simulator.told(f"{receiver.url}/half", "completed", prompt=f"[half] {number}")
    await simulator.told(f"{receiver.url}/lost", "completed", prompt="[lost]")
    await simulator.told(f"{receiver.url}/llama", "completed", version="meta/meta-llama-3-8b-instruct")
    await simulator.told(f"{receiver.url}/well", "completed")
    await until(lambda: simulator.account.webhooks.waiting == 0)
    assert 10 < len(receiver.of("/half")) < 50
    assert [len(receiver.of(path)) for path in ("/lost", "/llama", "/well")] == [0, 0, 1]
