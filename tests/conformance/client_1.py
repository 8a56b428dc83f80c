"""`replicate` 1.0.7, unmodified, does with the simulator whatever it does with Replicate: client_1.py URL WEBHOOK_PORT."""

import io
import sys
from importlib.metadata import version
from pathlib import Path

import replicate
from checks import Control, Receiver, run_checks
from pydantic.v1 import ValidationError
from replicate.exceptions import ReplicateError
from replicate.webhook import InvalidSignatureError, Webhooks

URL, WEBHOOK_PORT = sys.argv[1], int(sys.argv[2])
SCHNELL = "black-forest-labs/flux-schnell"
INPUT = {"prompt": "a fox"}

assert version("replicate") == "1.0.7"
client = replicate.Client(api_token="r8_any", base_url=URL)
control = Control(URL)
receiver = Receiver(WEBHOOK_PORT)


def create():
    created = client.predictions.create(version=SCHNELL, input=INPUT)
    assert (created.status, created.version, created.model, created.input) == ("starting", "hidden", SCHNELL, INPUT)
    held = client.models.predictions.create(model=SCHNELL, input=INPUT, wait=10)
    assert (held.status, len(held.output)) == ("succeeded", 1), "Prefer: wait holds it"
    deployed = client.deployments.predictions.create("acme/pictures", input=INPUT)
    assert deployed.model == "black-forest-labs/flux-dev"


def get():
    created = client.predictions.create(version=SCHNELL, input=INPUT)
    assert client.predictions.get(created.id).id == created.id
    try:
        client.predictions.get("nothing")
    except ReplicateError as error:
        assert (error.status, error.detail) == (404, "The requested resource could not be found.")
    else:
        raise AssertionError("found what is not there")


def wait():
    created = client.predictions.create(version=SCHNELL, input=INPUT)
    created.wait()
    assert (created.status, created.progress.percentage) == ("succeeded", 1.0)
    assert created.output[0].startswith("http://127.0.0.1:")
    assert created.metrics["predict_time"] > 0


def run():
    [output] = client.run(SCHNELL, input=INPUT)
    assert output.endswith(".webp")
    words = client.run("meta/meta-llama-3-8b-instruct", input={"prompt": "foxes"})
    assert "foxes" in "".join(words)


def cancel():
    control.faults({"effect": "prediction_duration", "seconds": 60})
    created = client.predictions.create(version=SCHNELL, input=INPUT)
    created.cancel()
    assert created.status == "canceled"
    assert client.predictions.cancel(created.id).status == "canceled"
    assert control.ledger()["predictions"][0]["canceled_by_client"]


def list_pages():
    created = [client.predictions.create(version=SCHNELL, input=INPUT).id for _ in range(101)]
    pages = list(_pages())
    assert [len(page) for page in pages] == [100, 1]
    assert [found for page in pages for found in page] == created[::-1]


def _pages():
    page = client.predictions.list()
    while True:
        yield [found.id for found in page]
        if page.next is None:
            return
        page = client.predictions.list(page.next)


def files():
    uploaded = client.files.create(io.BytesIO(b"hello"), filename="hello.txt", metadata={"a": 1})
    assert (uploaded.name, uploaded.size, uploaded.content_type, uploaded.metadata) == ("hello.txt", 5, "text/plain", {"a": 1})
    assert client.files.get(uploaded.id).etag == uploaded.etag
    assert [file.id for file in client.files.list()] == [uploaded.id]
    assert client.files.delete(uploaded.id)
    assert client.files.list() == []
    by_path = client.files.create(Path(__file__))
    assert by_path.size == Path(__file__).stat().st_size


def validate_webhooks():
    client.predictions.create(version=SCHNELL, input=INPUT, webhook=receiver.url, webhook_events_filter=["start", "completed"])
    arrivals = receiver.arrived(2)
    secret = client.webhooks.default.secret()
    for arrival in arrivals:
        Webhooks.validate(headers=arrival.headers, body=arrival.body, secret=secret, tolerance=60)
    try:
        Webhooks.validate(headers=arrivals[0].headers, body=arrivals[1].body, secret=secret)
    except InvalidSignatureError:
        return
    raise AssertionError("another body has the same signature")


def refusals():
    for model, values, text in (("nobody/nothing", INPUT, "Invalid version"), (SCHNELL, {}, "prompt is required")):
        try:
            client.predictions.create(version=model, input=values)
        except ReplicateError as error:
            assert error.status == 422, error
            assert text in str(error)
        else:
            raise AssertionError(f"{model} {values} was taken")


def account_models_hardware():
    assert client.accounts.current().username == "simulator"
    assert "gpu-h100" in [kind.sku for kind in client.hardware.list()]
    assert client.models.get(SCHNELL).latest_version.openapi_schema["components"]["schemas"]["Output"]
    assert SCHNELL in [model.id for model in client.models.list()]


def trap_a_create_that_failed_is_not_repeated():
    control.faults({"effect": "create_answer", "answer": "service_unavailable", "accepted": True})
    try:
        client.predictions.create(version=SCHNELL, input=INPUT)
    except Exception:
        assert control.ledger()["posts"] == 1
    else:
        raise AssertionError("no error")


def trap_aborted_and_unknown_statuses_and_odd_errors_break_it():
    rules = (
        {"effect": "prediction_ends", "status": "aborted"},
        {"effect": "prediction_status", "status": "queued"},
        {"effect": "prediction_ends", "status": "failed", "error": {"code": "E1000"}},
    )
    for rule in rules:
        control.faults(rule, {"effect": "prediction_duration", "seconds": 0, "queue_seconds": 0})
        try:
            client.predictions.create(version=SCHNELL, input=INPUT)
        except ValidationError:
            continue
        raise AssertionError(f"{rule} was read")


if __name__ == "__main__":
    checks = [create, get, wait, run, cancel, list_pages, files, validate_webhooks, refusals, account_models_hardware]
    traps = [trap_a_create_that_failed_is_not_repeated, trap_aborted_and_unknown_statuses_and_odd_errors_break_it]
    sys.exit(run_checks(control, [*checks, *traps]))
