"""Webhooks: signed, in order, and for the events that were asked for."""

import time

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from simulator.settings import Settings
from simulator.webhook_message import Message

SCHNELL = "black-forest-labs/flux-schnell"
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"


async def test_a_webhook_is_told_the_start_and_the_end_as_get_tells_them(simulator, receiver):
    created = await simulator.told(f"{receiver.url}/hooks/42", "start", "completed")
    start, completed = await receiver.until(2)
    assert (start.path, start.status, start.prediction["started_at"] is not None) == ("/hooks/42", "processing", True)
    assert (start.prediction["output"], start.prediction["completed_at"]) == (None, None)
    assert completed.prediction == await simulator.finished(created)
    assert completed.status == "succeeded"
    sent = await simulator.deliveries(created, 2)
    assert [(row["event"], row["attempt"], row["answer"]) for row in sent] == [("start", 1, 200), ("completed", 1, 200)]
    assert [row["id"] for row in sent] == [arrival.headers["webhook-id"] for arrival in (start, completed)]
    assert (await simulator.ledger())["webhooks"] == {"sent": 2, "acknowledged": 2}


async def test_webhooks_are_signed_with_the_secret_that_the_api_shows(start, receiver):
    secret = "whsec_" + "c2VjcmV0" * 4
    simulator = await start(webhook_secret=secret)
    assert (await simulator.client.get("/v1/webhooks/default/secret")).json() == {"key": secret}
    await simulator.told(receiver.url, "completed")
    [arrival] = await receiver.until(1)
    assert Webhook(secret).verify(arrival.body, arrival.headers)["status"] == "succeeded"
    assert abs(int(arrival.headers["webhook-timestamp"]) - time.time()) < 30
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(arrival.body, arrival.headers)


def test_the_published_vector_is_signed_as_published():
    body = b'{"id":"ufawqhfynnddngldkgtslldrkq","status":"succeeded"}'
    message = Message("completed", body, 0, retried=True, id="msg_p5jXN8AQM9LWM0D4loKWxJek")
    headers = message.request(Settings().webhook_secret, 1614265330.9).headers()
    assert headers["webhook-signature"] == "v1,s2DlIk2MUhdqTdEXK00tyb1zkyqvdgqvxApvPl8seMw="
    assert headers["webhook-timestamp"] == "1614265330"


async def test_a_cancel_is_told_at_once(simulator, receiver):
    await simulator.faults({"effect": "prediction_duration", "seconds": 600})
    created = await simulator.told(receiver.url, "start", "completed")
    await receiver.until(1)
    await simulator.client.post(f"/v1/predictions/{created.json()['id']}/cancel")
    await receiver.until(2)
    assert receiver.statuses == ["processing", "canceled"]


@pytest.mark.parametrize(("end", "statuses"), [("failed", ["processing", "failed"]), ("aborted", ["aborted"])])
async def test_every_end_is_told_and_a_start_only_where_there_was_one(simulator, receiver, end, statuses):
    await simulator.faults({"effect": "prediction_ends", "status": end})
    created = await simulator.told(receiver.url, "start", "completed")
    await simulator.deliveries(created, len(statuses))
    assert receiver.statuses == statuses


@pytest.mark.parametrize(
    "url", ["http://example.com/", "http://10.0.0.7/x", "ftp://127.0.0.1/", "example.com/x", "https://", "", "http://["]
)
async def test_a_webhook_that_is_not_https_is_refused(simulator, url):
    refused = await simulator.told(url)
    assert refused.status_code == 422
    assert refused.json()["invalid_fields"][0]["field"] == "webhook"
    assert (await simulator.ledger())["creates"] == 0


@pytest.mark.parametrize("url", ["https://a.example/x", "http://localhost:9/", "http://127.0.0.9:9/", "http://[::1]:9/"])
async def test_https_and_loopback_pass(simulator, url):
    assert (await simulator.told(url)).status_code == 201


async def test_http_passes_anywhere_where_a_setting_says_so(start):
    simulator = await start(webhook_http=True)
    assert (await simulator.told("http://10.255.255.1/hooks")).status_code == 201
    assert (await simulator.told("ftp://10.255.255.1/hooks")).status_code == 422


async def test_the_legacy_field_is_told_the_end_alone(simulator, receiver):
    body = {"version": SCHNELL, "input": {"prompt": "x"}, "webhook_completed": receiver.url}
    created = await simulator.client.post("/v1/predictions", json=body)
    await simulator.deliveries(created, 1)
    assert receiver.statuses == ["succeeded"]


async def test_a_reset_ends_all_deliveries(simulator, receiver):
    await simulator.faults({"effect": "prediction_duration", "seconds": 60})
    await simulator.told(receiver.url, "start", "completed")
    await receiver.until(1)
    await simulator.client.post("/control/reset")
    assert simulator.account.webhooks.waiting == 0
    other = await simulator.told(f"{receiver.url}/other", "completed")
    await simulator.finished(other)
    await simulator.deliveries(other, 1)
    assert [arrival.path for arrival in receiver.arrivals] == ["/", "/other"]
