"""`replicate` 2.0.0b4, unmodified, does with the simulator whatever it does with Replicate: client_2.py URL WEBHOOK_PORT.

Its base URL ends in /v1. It has no check of webhooks, which is left to `standardwebhooks`, as its readers are told to do.
"""

import sys
import time
from importlib.metadata import version
from pathlib import Path
from threading import Thread

import replicate
from checks import Control, Receiver, run_checks, until
from replicate import NotFoundError, Replicate, UnprocessableEntityError
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

URL, WEBHOOK_PORT = sys.argv[1], int(sys.argv[2])
SCHNELL = "black-forest-labs/flux-schnell"
NAMED = {"model_owner": "black-forest-labs", "model_name": "flux-schnell"}
INPUT = {"prompt": "a fox"}

assert version("replicate") == "2.0.0b4"
client = Replicate(bearer_token="r8_any", base_url=f"{URL}/v1")
control = Control(URL)
receiver = Receiver(WEBHOOK_PORT)


def create():
    created = client.predictions.create(version=SCHNELL, input=INPUT)
    assert (created.status, created.version, created.model, created.input) == ("starting", "hidden", SCHNELL, INPUT)
    held = client.models.predictions.create(**NAMED, input=INPUT, prefer="wait=10")
    assert (held.status, len(held.output)) == ("succeeded", 1), "Prefer: wait holds it"
    deployed = client.deployments.predictions.create(deployment_owner="acme", deployment_name="pictures", input=INPUT)
    assert deployed.model == "black-forest-labs/flux-dev"


def cancel_after():
    control.faults({"effect": "prediction_duration", "seconds": 60})
    created = client.predictions.create(version=SCHNELL, input=INPUT, cancel_after="1m")
    assert (created.deadline - created.created_at).total_seconds() == 60


def get():
    created = client.predictions.create(version=SCHNELL, input=INPUT)
    assert client.predictions.get(prediction_id=created.id).id == created.id
    try:
        client.predictions.get(prediction_id="nothing")
    except NotFoundError as error:
        assert error.body["detail"] == "The requested resource could not be found."
    else:
        raise AssertionError("found what is not there")


def wait():
    created = client.predictions.create(version=SCHNELL, input=INPUT)
    ended = client.predictions.wait(created.id)
    assert ended.status == "succeeded"
    assert ended.output[0].startswith("http://127.0.0.1:")
    assert ended.metrics.predict_time > 0
    assert ended.completed_at > ended.started_at > ended.created_at


def run():
    [output] = client.run(SCHNELL, input=INPUT)
    assert str(output).endswith(".webp") or output.url.endswith(".webp")


def cancel():
    control.faults({"effect": "prediction_duration", "seconds": 60})
    created = client.predictions.create(version=SCHNELL, input=INPUT)
    assert client.predictions.cancel(prediction_id=created.id).status == "canceled"
    assert control.ledger()["predictions"][0]["canceled_by_client"]


def list_pages():
    created = [client.predictions.create(version=SCHNELL, input=INPUT) for _ in range(101)]
    assert len(client.predictions.list().results) == 100
    assert [found.id for found in client.predictions.list()] == [prediction.id for prediction in created[::-1]]
    since = client.predictions.list(created_after=created[99].created_at)
    assert [found.id for found in since] == [created[100].id, created[99].id]


def files():
    uploaded = client.files.create(content=("hello.txt", b"hello", "text/plain"))
    assert (uploaded.size, uploaded.content_type) == (5, "text/plain")
    assert client.files.get(file_id=uploaded.id).checksums.sha256 == uploaded.checksums.sha256
    assert [file.id for file in client.files.list()] == [uploaded.id]
    content = client.files.download(file_id=uploaded.id, expiry=int(time.time()) + 60, owner="simulator", signature="any")
    assert content.read() == b"hello"
    client.files.delete(file_id=uploaded.id)
    assert list(client.files.list()) == []
    by_path = client.files.create(content=Path(__file__))
    assert by_path.size == Path(__file__).stat().st_size


def validate_webhooks():
    client.predictions.create(version=SCHNELL, input=INPUT, webhook=receiver.url, webhook_events_filter=["start", "completed"])
    arrivals = receiver.arrived(2)
    webhook = Webhook(client.webhooks.default.secret.get().key)
    assert [webhook.verify(arrival.body, arrival.headers)["status"] for arrival in arrivals] == ["processing", "succeeded"]
    try:
        webhook.verify(arrivals[1].body, arrivals[0].headers)
    except WebhookVerificationError:
        return
    raise AssertionError("another body has the same signature")


def refusals():
    for model, values, text in (("nobody/nothing", INPUT, "Invalid version"), (SCHNELL, {}, "prompt is required")):
        try:
            client.predictions.create(version=model, input=values)
        except UnprocessableEntityError as error:
            assert text in str(error), error
        else:
            raise AssertionError(f"{model} {values} was taken")


def account_models_hardware():
    assert client.account.get().username == "simulator"
    assert "gpu-h100" in [kind.sku for kind in client.hardware.list()]
    model = client.models.get(**NAMED)
    assert model.latest_version.openapi_schema["components"]["schemas"]["Output"]
    assert "flux-schnell" in [model.name for model in client.models.list()]


def trap_a_create_that_failed_is_repeated_twice_and_paid_three_times():
    control.faults({"effect": "create_answer", "answer": "service_unavailable", "accepted": True})
    try:
        client.predictions.create(version=SCHNELL, input=INPUT)
    except replicate.InternalServerError:
        assert (control.ledger()["posts"], control.ledger()["creates"]) == (3, 3)
    else:
        raise AssertionError("no error")


def trap_its_wait_polls_for_ever_where_a_prediction_was_aborted():
    control.faults({"effect": "prediction_ends", "status": "aborted"})
    created = client.predictions.create(version=SCHNELL, input=INPUT)
    waiting = Thread(target=client.predictions.wait, args=[created.id], daemon=True)
    waiting.start()
    until(lambda: client.predictions.get(prediction_id=created.id).status == "aborted")
    reads = control.ledger()["reads"]
    until(lambda: control.ledger()["reads"] >= reads + 3, "it polls on, though nothing changes any more")
    assert waiting.is_alive()


if __name__ == "__main__":
    checks = [create, cancel_after, get, wait, run, cancel, list_pages, files, validate_webhooks, refusals, account_models_hardware]
    traps = [
        trap_a_create_that_failed_is_repeated_twice_and_paid_three_times,
        trap_its_wait_polls_for_ever_where_a_prediction_was_aborted,
    ]
    sys.exit(run_checks(control, [*checks, *traps]))
