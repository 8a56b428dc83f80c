"""The recorder behaves as the API guide asks of clients, and forgets nothing that it was told."""

from types import SimpleNamespace

import httpx
import pytest
import pytest_asyncio

from history.recorder import NotAccepted, NotFinished, Recorder

VIEW = {"id": "a", "version": 1, "status": "pending", "outputs": []}


class Gateway:
    """Answers from a script, one entry a request, the last one for ever; an exception is a connection that was lost."""

    def __init__(self) -> None:
        self.script: list[httpx.Response | Exception] = []
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def says(status: int, body: object = None, **headers: str) -> httpx.Response:
    return httpx.Response(status, json=body or {}, headers=headers)


@pytest.fixture
def gateway():
    return Gateway()


@pytest_asyncio.fixture
async def recorder(gateway):
    stack = SimpleNamespace(vitals=list, api_key="mg_key", gateway_url="http://gateway", jobs_address="127.0.0.1:1")
    recorder = Recorder(stack, give_up_after=2)
    await recorder._http.aclose()
    recorder._http = httpx.AsyncClient(base_url="http://gateway", transport=httpx.MockTransport(gateway))
    yield recorder
    await recorder.aclose()


async def test_a_create_is_repeated_with_its_key_until_it_is_answered(recorder, gateway):
    gateway.script = [says(503), httpx.ReadError("lost"), says(202, VIEW, **{"Idempotent-Replayed": "true"})]
    gateway.script[0].headers["Retry-After"] = "0.01"
    assert await recorder.post("a fox", priority=3) == "a"
    assert len({request.headers["Idempotency-Key"] for request in gateway.requests}) == 1
    assert [note["status"] for note in recorder.told] == [503, None, 202]
    last = recorder.told[-1]
    assert (last["job"], last["version"], last["job_status"], last["replayed"]) == ("a", 1, "pending", True)
    assert last["began"] <= last["ended"]


async def test_a_create_that_is_refused_is_not_repeated(recorder, gateway):
    gateway.script = [says(422, {"code": "invalid_argument"})]
    with pytest.raises(NotAccepted, match="422"):
        await recorder.post("a fox")
    assert len(gateway.requests) == 1


async def test_a_create_that_is_never_answered_is_given_up(recorder, gateway):
    gateway.script = [httpx.ConnectError("refused")]
    with pytest.raises(NotAccepted, match="no create was answered"):
        await recorder.post("a fox")


async def test_jobs_are_followed_until_each_was_told_to_be_final(recorder, gateway):
    gateway.script = [
        says(202, VIEW),
        says(200, {"jobs": [{**VIEW, "version": 2}], "next_page_token": None}),
        says(200, {"jobs": [], "next_page_token": None}),
        says(200, {**VIEW, "version": 5, "status": "completed", "outputs": [{"index": 0, "sha256": "ff"}]}),
    ]
    await recorder.post("a fox")
    await recorder.all_finished(10)
    assert recorder.final == {"a": "completed"}
    assert [(note["kind"], note["version"]) for note in recorder.told] == [("create", 1), ("status", 2), ("status", 5)]
    assert recorder.told[-1]["outputs"] == [[0, "ff"]]


async def test_a_job_that_never_ends_is_told(recorder, gateway):
    gateway.script = [says(202, VIEW), says(200, {"jobs": [VIEW], "next_page_token": None})]
    await recorder.post("a fox")
    with pytest.raises(NotFinished, match="1 of 1 jobs"):
        await recorder.all_finished(0.5)
