"""Creates, reads, lists and ends of predictions over HTTP."""

import asyncio
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import pytest

from waiting import until

SCHNELL = "black-forest-labs/flux-schnell"


async def test_a_create_answers_201_with_the_object_of_the_api(simulator):
    async def clock_is_right() -> bool:
        told = parsedate_to_datetime((await simulator.client.get("/v1/account")).headers["Date"])
        return abs((datetime.now(UTC) - told).total_seconds()) < 5

    await until(clock_is_right)  # the server sets it once a second, and its loop stands still between tests
    created = await simulator.create("a fox", seed=7)
    assert created.status_code == 201
    body = created.json()
    assert len(body["id"]) == 26
    assert body["input"] == {"prompt": "a fox", "seed": 7}
    assert (body["status"], body["version"], body["output"], body["error"], body["data_removed"]) == (
        "starting",
        "hidden",
        None,
        None,
        False,
    )
    assert set(body["urls"]) == {"get", "cancel", "web"}
    assert "deadline" not in body
    assert abs((parsedate_to_datetime(created.headers["Date"]) - datetime.fromisoformat(body["created_at"])).total_seconds()) < 5


async def test_a_prediction_goes_from_starting_through_processing_to_its_end(start):
    simulator = await start(queue_seconds=0.3, predict_seconds=0.6)
    created = await simulator.create()
    seen, logs = [], set()
    while not seen or seen[-1] not in ("succeeded", "failed"):
        found = await simulator.prediction(created)
        seen += [found["status"]] if not seen or seen[-1] != found["status"] else []
        logs.add(found["logs"])
        await asyncio.sleep(0.02)
    assert seen == ["starting", "processing", "succeeded"]
    assert len(logs) >= 4, "the progress bar grows"
    assert found["created_at"] < found["started_at"] < found["completed_at"]
    assert found["metrics"]["total_time"] > found["metrics"]["predict_time"] > 0.4


async def test_prefer_wait_holds_the_create_until_the_prediction_ends(simulator):
    body = {"version": SCHNELL, "input": {"prompt": "a fox"}}
    created = await simulator.client.post("/v1/predictions", json=body, headers={"Prefer": "wait=5"})
    assert (created.status_code, created.json()["status"]) == (201, "succeeded")


async def test_prefer_wait_answers_202_when_the_wait_is_over(start):
    simulator = await start(predict_seconds=30)
    body = {"version": SCHNELL, "input": {"prompt": "a fox"}}
    created = await simulator.client.post("/v1/predictions", json=body, headers={"Prefer": "wait=1"})
    assert (created.status_code, created.json()["status"]) == (202, "starting")


@pytest.mark.parametrize(
    "header", [{"Prefer": "wait=61"}, {"Prefer": "respond-async"}, {"Cancel-After": "4s"}, {"Cancel-After": "soon"}]
)
async def test_a_bad_header_is_refused_and_makes_nothing(simulator, header):
    body = {"version": SCHNELL, "input": {"prompt": "a fox"}}
    refused = await simulator.client.post("/v1/predictions", json=body, headers=header)
    assert refused.status_code == 422
    assert next(iter(header)) in refused.json()["detail"]
    assert (await simulator.ledger())["creates"] == 0


async def test_a_deadline_that_passes_while_it_runs_cancels(simulator):
    await simulator.faults({"effect": "prediction_duration", "seconds": 60})
    simulator.client.headers["Cancel-After"] = "5s"
    created = await simulator.create()
    deadline = datetime.fromisoformat(created.json()["deadline"])
    assert (deadline - datetime.fromisoformat(created.json()["created_at"])).total_seconds() == pytest.approx(5)
    simulator.account.predictions.all[0].deadline -= 4.8  # nobody waits five seconds
    found = await simulator.finished(created)
    assert found["status"] == "canceled"
    assert found["started_at"] is not None


async def test_a_deadline_that_passes_before_the_start_aborts(simulator):
    await simulator.faults({"effect": "prediction_duration", "seconds": 1, "queue_seconds": 60})
    simulator.client.headers["Cancel-After"] = "5s"
    created = await simulator.create()
    simulator.account.predictions.all[0].deadline -= 4.9
    found = await simulator.finished(created)
    assert (found["status"], found["started_at"], found["logs"]) == ("aborted", None, "")


async def test_a_cancel_of_a_finished_prediction_changes_nothing(simulator):
    created = await simulator.create()
    before = await simulator.finished(created)
    answer = await simulator.client.post(f"/v1/predictions/{before['id']}/cancel")
    assert (answer.status_code, answer.json()) == (200, before)


async def test_no_token_is_401(simulator):
    async with httpx.AsyncClient(base_url=simulator.url) as stranger:
        for path in ("/v1/account", "/v1/predictions"):
            assert (await stranger.get(path)).status_code == 401
        refused = await stranger.post("/v1/predictions", json={"version": SCHNELL, "input": {"prompt": "x"}})
    assert (refused.status_code, refused.json()["title"]) == (401, "Unauthenticated")


@pytest.mark.parametrize(
    ("path", "body", "status", "detail"),
    [
        ("/v1/predictions", {"version": "f" * 64, "input": {}}, 422, "The specified version does not exist"),
        ("/v1/predictions", {"version": "stability-ai/sdxl", "input": {}}, 422, "The specified version does not exist"),
        ("/v1/predictions", {"version": SCHNELL, "input": {"prompt": 3}}, 422, "- input.prompt: Invalid type"),
        ("/v1/predictions", {"version": SCHNELL, "input": {"prompt": "x", "num_outputs": 5}}, 422, "less than or equal to 4"),
        ("/v1/predictions", {"version": SCHNELL, "input": {"prompt": "x", "aspect_ratio": "1:7"}}, 422, "one of the following"),
        ("/v1/predictions", {"version": SCHNELL, "input": {}, "signal": 1}, 422, "- Additional property signal is not allowed\n"),
        ("/v1/predictions", {"input": {}}, 422, "- version is required\n"),
        ("/v1/predictions", {"version": SCHNELL, "input": [], "webhook_events_filter": ["end"]}, 422, "webhook_events_filter.0"),
        ("/v1/models/nobody/nothing/predictions", {"input": {}}, 404, "could not be found"),
        ("/v1/models/stability-ai/sdxl/predictions", {"input": {}}, 404, "could not be found"),
        ("/v1/deployments/nobody/nothing/predictions", {"input": {}}, 404, "could not be found"),
    ],
)
async def test_a_wrong_create_is_refused_in_replicates_words(simulator, path, body, status, detail):
    refused = await simulator.client.post(path, json=body)
    assert refused.status_code == refused.json()["status"] == status
    assert detail in refused.json()["detail"]
    ledger = await simulator.ledger()
    assert (ledger["creates"], ledger["posts"], ledger["refused"]) == (0, 1, {str(status): 1})


async def test_a_body_that_is_no_json_is_400(simulator):
    refused = await simulator.client.post("/v1/predictions", content=b"{")
    assert (refused.status_code, refused.json()["status"]) == (400, 400)


async def test_an_unknown_input_passes_and_is_echoed(simulator):
    created = await simulator.create(_intent="42")
    assert created.json()["input"]["_intent"] == "42"


async def test_the_webhook_is_echoed(simulator):
    body = {"version": SCHNELL, "input": {"prompt": "x"}, "webhook": "https://a.example/1", "webhook_events_filter": ["completed"]}
    created = (await simulator.client.post("/v1/predictions", json=body)).json()
    assert (created["webhook"], created["webhook_events_filter"]) == ("https://a.example/1", ["completed"])
    assert (await simulator.ledger())["creates_by_webhook"] == {"https://a.example/1": 1}


async def test_the_list_is_paged_newest_first_in_both_directions(start):
    simulator = await start(creates_per_minute=0, reads_per_minute=0)
    ids = [(await simulator.create(str(number))).json()["id"] for number in range(250)][::-1]
    pages, url = [], "/v1/predictions"
    while url:
        page = (await simulator.client.get(url)).json()
        pages.append(page)
        url = page["next"]
    assert [len(page["results"]) for page in pages] == [100, 100, 50]
    assert [found["id"] for page in pages for found in page["results"]] == ids
    assert pages[0]["previous"] is None
    back = (await simulator.client.get(pages[2]["previous"])).json()
    assert [found["id"] for found in back["results"]] == ids[100:200]
    first = (await simulator.client.get(back["previous"])).json()
    assert ([found["id"] for found in first["results"]], first["previous"]) == (ids[:100], None)


async def test_the_list_keeps_to_the_times_asked_for(simulator):
    created = [(await simulator.create(str(number))).json() for number in range(4)]
    query = {"created_after": created[1]["created_at"], "created_before": created[3]["created_at"]}
    page = (await simulator.client.get("/v1/predictions", params=query)).json()
    assert [found["id"] for found in page["results"]] == [created[2]["id"], created[1]["id"]]


@pytest.mark.parametrize("query", ["cursor=%21%21", "cursor=eA", "created_after=yesterday", "created_before=2026-01-01"])
async def test_a_broken_cursor_or_time_is_422(simulator, query):
    assert (await simulator.client.get(f"/v1/predictions?{query}")).status_code == 422


async def test_data_are_removed_after_their_time(start):
    simulator = await start(retention_seconds=1)
    created = await simulator.create()
    done = await simulator.finished(created)
    assert (await simulator.client.get(done["output"][0])).status_code == 200

    async def removed():
        found = await simulator.prediction(created)
        return found if found["data_removed"] else None

    gone = await until(removed)
    assert (gone["status"], gone["input"], gone["output"], gone["logs"], gone["data_removed"]) == (
        "succeeded",
        None,
        None,
        "",
        True,
    )
    assert (await simulator.client.get(done["output"][0])).status_code == 404
    await simulator.create("another")  # lets go of what is past its time
    assert simulator.account.predictions.all[0].input is None


async def test_a_prediction_that_runs_costs_no_task(start):
    simulator = await start(creates_per_minute=0, predict_seconds=30)
    await simulator.create()
    before = len(asyncio.all_tasks())
    for _ in range(50):
        await simulator.create()
    assert len(asyncio.all_tasks()) == before
    assert (await simulator.ledger())["creates"] == 51
