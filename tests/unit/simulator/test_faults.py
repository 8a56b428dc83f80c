"""Each fault of creates, reads and predictions does what its rule says, and nothing more."""

import time

import httpx
import pytest

from waiting import holds, until

SCHNELL = "black-forest-labs/flux-schnell"


async def test_a_late_answer_leaves_a_prediction_behind(simulator):
    await simulator.faults({"effect": "create_late", "seconds": 1, "times": 1})
    simulator.client.timeout = httpx.Timeout(0.3)
    with pytest.raises(httpx.ReadTimeout):
        await simulator.create("the lost one")
    simulator.client.timeout = httpx.Timeout(5)
    listed = (await simulator.client.get("/v1/predictions")).json()["results"]
    assert [found["input"]["prompt"] for found in listed] == ["the lost one"]

    async def unheard():
        ledger = await simulator.ledger()
        [row] = ledger["predictions"]
        return (ledger["creates"], row["answered"], row["faults"]) == (1, False, ["create_late"])

    await holds(unheard, 1)  # longer than the answer was late


async def test_a_late_answer_reaches_a_patient_client(simulator):
    await simulator.faults({"effect": "create_late", "seconds": 0.3})
    begun = time.monotonic()
    assert (await simulator.create()).status_code == 201
    assert time.monotonic() - begun > 0.3
    assert (await simulator.ledger())["predictions"][0]["answered"] is True


@pytest.mark.parametrize(("accepted", "creates", "refused"), [(True, 1, {}), (False, 0, {"reset": 1})])
async def test_a_reset_ends_the_connection_before_or_after_the_prediction_is_made(simulator, accepted, creates, refused):
    await simulator.faults({"effect": "create_reset", "accepted": accepted, "times": 1})
    with pytest.raises(httpx.ReadError):
        await simulator.create()
    ledger = await simulator.ledger()
    assert (ledger["creates"], ledger["refused"]) == (creates, refused)
    assert (await simulator.create()).status_code == 201, "the rule is spent"


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        ("unauthenticated", 401, "valid authentication token"),
        ("insufficient_credit", 402, "insufficient credit"),
        ("spend_limit", 402, "monthly spend limit"),
        ("forbidden", 403, "permission"),
        ("not_found", 404, "could not be found"),
        ("invalid_version", 422, "version does not exist"),
        ("invalid_input", 422, "input.prompt"),
        ("throttled", 429, "Expected available in 7 seconds."),
        ("throttled_about", 429, "resets in ~7s."),
        ("throttled_low_credit", 429, "less than $5.0 in credit"),
        ("internal_error", 500, "internal error"),
        ("internal_error_html", 500, "<h1>500 Internal Server Error</h1>"),
        ("bad_gateway", 502, "<h1>502 Bad Gateway</h1>"),
        ("service_unavailable", 503, "<h1>503 Service Unavailable</h1>"),
        ("gateway_timeout", 504, "<h1>504 Gateway Timeout</h1>"),
    ],
)
async def test_a_create_is_refused_as_the_rule_says(simulator, answer, status, text):
    await simulator.faults({"effect": "create_answer", "answer": answer, "retry_after": 7})
    refused = await simulator.create()
    assert refused.status_code == status
    assert text in refused.text
    assert "Retry-After" not in refused.headers
    assert ("html" in refused.headers["Content-Type"]) == text.startswith("<")
    assert (await simulator.ledger())["refused"] == {str(status): 1}


async def test_a_broken_gateway_may_hide_a_prediction_that_was_made(simulator):
    await simulator.faults({"effect": "create_answer", "answer": "bad_gateway", "accepted": True})
    assert (await simulator.create()).status_code == 502
    ledger = await simulator.ledger()
    assert (ledger["creates"], ledger["predictions"][0]["answered"]) == (1, False)


async def test_the_third_429_names_its_wait_in_the_body_and_on_demand_in_a_header(simulator):
    rule = {"effect": "create_answer", "answer": "throttled_low_credit", "retry_after": 3, "retry_after_header": True}
    await simulator.faults(rule)
    refused = await simulator.create()
    assert (refused.json()["retry_after"], refused.headers["Retry-After"]) == (3, "3")


async def test_a_rule_strikes_only_where_its_conditions_hold_and_as_often_as_it_says(simulator):
    when = {"model": "schnell", "prompt": "[boom]"}
    await simulator.faults({"effect": "create_answer", "answer": "internal_error", "when": when, "times": 2})
    text = {"version": "meta/meta-llama-3-8b-instruct"}
    answers = [await simulator.create("quiet"), await simulator.create("[boom]", **text)]
    answers += [await simulator.create("a [boom]") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 500, 500, 201]
    rules = (await simulator.client.get("/control/faults")).json()["rules"]
    assert rules == [{"effect": "create_answer", "answer": "internal_error", "when": when, "times": 2, "applied": 2}]


async def test_a_probability_strikes_about_that_often(start):
    simulator = await start(creates_per_minute=0)
    await simulator.faults({"effect": "create_answer", "answer": "internal_error", "probability": 0.3})
    statuses = [(await simulator.create()).status_code for _ in range(200)]
    assert 35 < statuses.count(500) < 85


async def test_faults_end_when_they_are_cleared(simulator):
    await simulator.faults({"effect": "read_answer", "answer": "bad_gateway"})
    assert (await simulator.client.get("/v1/predictions")).status_code == 502
    assert (await simulator.client.delete("/control/faults")).status_code == 204
    assert (await simulator.client.get("/v1/predictions")).status_code == 200


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"effect": "create_late", "seconds": 1, "colour": "red"}, "rules.0.create_late.colour: Extra inputs are not permitted."),
        ({"effect": "create_late"}, "rules.0.create_late.seconds: Field required."),
        ({"effect": "create_late", "seconds": -1}, "greater than or equal to 0"),
        ({"effect": "create_late", "seconds": 1, "when": {"promt": "x"}}, "when.promt: Extra inputs"),
        ({"effect": "explode"}, "rules.0: Input tag 'explode'"),
        ({"effect": "file_big", "size": -1}, "rules.0.file_big.size"),
        ({}, "rules.0: Unable to extract tag"),
    ],
)
async def test_a_rule_that_is_none_is_refused_with_a_sentence_and_changes_nothing(simulator, rule, sentence):
    await simulator.faults({"effect": "low_credit"})
    refused = await simulator.client.put("/control/faults", json={"rules": [rule]})
    assert refused.status_code == 422
    assert sentence in refused.json()["detail"]
    assert len((await simulator.client.get("/control/faults")).json()["rules"]) == 1


async def test_reads_fail_by_kind_of_call(simulator):
    created = (await simulator.create()).json()
    await simulator.faults(
        {"effect": "read_answer", "answer": "throttled", "calls": ["list"]},
        {"effect": "read_reset", "calls": ["cancel"]},
        {"effect": "read_slow", "seconds": 0.3, "calls": ["get"]},
    )
    assert (await simulator.client.get("/v1/predictions")).status_code == 429
    with pytest.raises(httpx.ReadError):
        await simulator.client.post(f"/v1/predictions/{created['id']}/cancel")
    begun = time.monotonic()
    assert (await simulator.client.get(f"/v1/predictions/{created['id']}")).status_code == 200
    assert time.monotonic() - begun > 0.3
    assert (await simulator.client.get("/v1/account")).status_code == 200


async def test_a_prediction_may_be_missing_from_the_list_for_a_while(simulator):
    await simulator.faults({"effect": "list_lag", "seconds": 0.4, "when": {"prompt": "late"}})
    await simulator.create("early")
    late = (await simulator.create("late")).json()["id"]

    async def listed():
        return [found["input"]["prompt"] for found in (await simulator.client.get("/v1/predictions")).json()["results"]]

    assert await listed() == ["early"]
    assert (await simulator.prediction(late))["id"] == late

    async def both():
        return await listed() == ["late", "early"]

    await until(both)


async def test_a_prediction_fails_with_the_text_given(simulator):
    await simulator.faults({"effect": "prediction_ends", "status": "failed", "error": "NSFW content detected (E005)"})
    found = await simulator.finished(await simulator.create())
    assert (found["status"], found["error"], found["output"]) == ("failed", "NSFW content detected (E005)", None)


async def test_a_prediction_is_aborted_before_its_start(simulator):
    await simulator.faults({"effect": "prediction_ends", "status": "aborted"})
    found = await simulator.finished(await simulator.create())
    assert (found["status"], found["started_at"], found["metrics"]["predict_time"]) == ("aborted", None, 0)


async def test_a_prediction_is_canceled_unasked(simulator):
    await simulator.faults({"effect": "prediction_ends", "status": "canceled"})
    found = await simulator.finished(await simulator.create())
    assert (found["status"], found["error"]) == ("canceled", None)
    assert (await simulator.ledger())["predictions"][0]["canceled_by_client"] is False


async def test_an_unknown_status_shows_for_a_while_or_for_ever(simulator):
    await simulator.faults(
        {"effect": "prediction_status", "status": "queued", "seconds": 0.3, "when": {"prompt": "while"}},
        {"effect": "prediction_status", "status": "dreaming", "when": {"prompt": "ever"}},
    )

    async def shows(created, status):
        return (await simulator.prediction(created))["status"] == status

    awhile, ever = await simulator.create("a while"), await simulator.create("for ever")
    await until(lambda: shows(awhile, "queued"))
    assert (await simulator.finished(awhile))["status"] == "succeeded"
    await holds(lambda: shows(ever, "dreaming"), 0.3)


async def test_a_prediction_lasts_as_long_as_the_rule_says(simulator):
    await simulator.faults({"effect": "prediction_duration", "seconds": 0.5, "queue_seconds": 0.2})
    found = await simulator.finished(await simulator.create())
    assert found["metrics"] == {"predict_time": pytest.approx(0.5), "total_time": pytest.approx(0.7)}


@pytest.mark.parametrize(
    ("rule", "check"),
    [
        ({"shape": "string"}, lambda output: output.startswith("http")),
        ({"shape": "list"}, lambda output: [part[:4] for part in output] == ["http"]),
        ({"shape": "nested"}, lambda output: output["results"][0]["image"] == output["all"]["files"][0]),
        ({"shape": "data_uri"}, lambda output: output[0].startswith("data:image/webp;base64,UklGR")),
        ({"shape": "empty_list"}, lambda output: output == []),
        ({"shape": "null"}, lambda output: output is None),
        ({"shape": "text", "value": "a word"}, lambda output: output == "a word"),
        ({"shape": "json", "value": {"a": [1, None]}}, lambda output: output == {"a": [1, None]}),
    ],
)
async def test_an_output_takes_the_shape_of_the_rule(simulator, rule, check):
    await simulator.faults({"effect": "prediction_output", **rule})
    found = await simulator.finished(await simulator.create())
    assert found["status"] == "succeeded"
    assert check(found["output"]), found["output"]
