"""The official client, unmodified, is the judge: whatever it can do with Replicate it can do with the simulator."""

import io
from collections.abc import AsyncIterator

import pytest
import replicate
from replicate.exceptions import ReplicateError

SCHNELL = "black-forest-labs/flux-schnell"
SDXL = "stability-ai/sdxl"


@pytest.fixture
async def client(simulator):
    client = replicate.Client(api_token="r8_test", base_url=simulator.url)
    yield client
    await client._async_client.aclose()  # it has no close of its own


async def test_a_prediction_is_created_followed_and_listed(client):
    created = await client.predictions.async_create(version=SCHNELL, input={"prompt": "a fox"})
    assert (created.status, created.version, created.model) == ("starting", "hidden", SCHNELL)
    await created.async_wait()
    assert created.status == "succeeded"
    assert created.output[0].startswith("http://127.0.0.1:")
    assert created.progress.percentage == 1.0
    assert created.metrics["predict_time"] > 0
    assert [found.id for found in await client.predictions.async_list()] == [created.id]


async def test_models_and_deployments_take_creates_of_their_own(client):
    by_model = await client.models.predictions.async_create(model=SCHNELL, input={"prompt": "a fox"})
    by_deployment = await client.deployments.predictions.async_create("acme/pictures", input={"prompt": "a fox"})
    assert (by_model.model, by_deployment.model) == (SCHNELL, "black-forest-labs/flux-dev")


async def test_a_community_model_runs_by_its_version(client):
    versions = await (await client.models.async_get(SDXL)).versions.async_list()
    schema = versions[0].openapi_schema["components"]["schemas"]
    assert schema["Input"]["properties"]["scheduler"]["allOf"] == [{"$ref": "#/components/schemas/scheduler"}]
    output = await client.async_run(f"{SDXL}:{versions[0].id}", input={"prompt": "a fox"})
    assert [str(file).endswith(".png") for file in output] == [True]


async def test_a_cancel_ends_the_prediction(client, simulator):
    await simulator.faults({"effect": "prediction_duration", "seconds": 60})
    created = await client.predictions.async_create(version=SCHNELL, input={"prompt": "a fox"})
    await created.async_cancel()
    await created.async_reload()
    assert created.status == "canceled"
    assert (await simulator.ledger())["predictions"][0]["canceled_by_client"] is True


async def test_files_are_uploaded_and_deleted(client):
    uploaded = await client.files.async_create(io.BytesIO(b"hello"), filename="hello.txt", metadata={"a": 1})
    assert (uploaded.name, uploaded.size, uploaded.content_type, uploaded.metadata) == ("hello.txt", 5, "text/plain", {"a": 1})
    assert (await client.files.async_get(uploaded.id)).etag == uploaded.etag
    assert [file.id for file in await client.files.async_list()] == [uploaded.id]
    assert await client.files.async_delete(uploaded.id)
    assert await client.files.async_list() == []


async def test_a_language_model_streams_its_words(client):
    model = "meta/meta-llama-3-8b-instruct"
    words = [
        str(event) async for event in await client.async_stream(model, input={"prompt": "foxes"}) if event.event.value == "output"
    ]
    assert "foxes" in "".join(words)
    output = await client.async_run(model, input={"prompt": "foxes"})
    assert isinstance(output, AsyncIterator | list)


async def test_the_account_is_there(client):
    assert (await client.accounts.async_current()).username == "simulator"
    assert "gpu-h100" in [kind.sku for kind in await client.hardware.async_list()]
    assert (await client.webhooks.default.async_secret()).key.startswith("whsec_")
    assert (await client.models.async_get(SCHNELL)).latest_version.openapi_schema["components"]["schemas"]["Output"]
    assert SDXL in [model.id for model in (await client.models.async_list())]


async def test_refusals_arrive_as_the_clients_errors(client):
    with pytest.raises(ReplicateError, match="Invalid version or not permitted"):
        await client.predictions.async_create(version="nobody/nothing", input={})
    with pytest.raises(ReplicateError, match="prompt is required"):
        await client.predictions.async_create(version=SCHNELL, input={})
    with pytest.raises(ReplicateError, match="does not expose a list of versions"):
        await (await client.models.async_get(SCHNELL)).versions.async_list()
    with pytest.raises(ReplicateError, match="could not be found"):
        await client.predictions.async_get("nothing")
