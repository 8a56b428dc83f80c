"""Replicate's HTTP API, as far as a generator needs it. Nothing is retried here: the caller knows what that would cost."""

import contextlib
import datetime
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import aiohttp
import orjson
from yarl import URL

from chassis.failpoints import failpoint_within
from chassis.server_time import ServerTime, parse_date
from generator.metrics import creates_in_flight, replicate
from generator.outcomes import CreateOutcome, Refused, Unknown, create_outcome, parse_problem, retry_after
from mediagen.jobs.v1.worker_pb2 import REFUSAL_KIND_NOT_SENT

CONNECT_SECONDS = 3.0
READ_SECONDS = 15.0

MAX_BODY_BYTES = 32 * 1024 * 1024
"""The largest answer that is read: a page of 100 predictions with their logs, or one prediction with its output in place."""

TERMINAL = frozenset({"succeeded", "failed", "canceled", "aborted"})
"""Statuses that a prediction keeps. Any other one, known or not, means that it goes on."""

Prediction = dict[str, Any]
"""A prediction as Replicate sends it. Every field but `id` and `status` may be missing."""


class ReadFailed(Exception):
    """Replicate could not be asked, or gave no usable answer; nothing is known."""

    def __init__(self, message: str, retry_after_seconds: float = 0) -> None:
        """`retry_after_seconds` is above 0 after a 429."""
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class NotFound(Exception):
    """Replicate knows no such prediction."""


class Page(NamedTuple):
    """A page of the account's predictions, newest first."""

    results: list[Prediction]
    """At most 100."""
    cursor: str | None
    """What to pass for the next, older page; None on the last one."""
    date: datetime.datetime | None
    """Replicate's time of the answer, where it told."""


class ReplicateApi:
    """One account at Replicate, or at a simulator of it."""

    def __init__(self, url: str, creates: aiohttp.ClientSession, reads: aiohttp.ClientSession) -> None:
        """Creates have connections of their own; both sessions carry the account's token."""
        self._url = URL(url)
        self._creates = creates
        self._reads = reads
        self._clock = ServerTime()

    def now(self) -> datetime.datetime:
        """Replicate's time, by the Date header of its last answer: this machine's clock may be an hour off."""
        return self._clock.now()

    async def create(
        self, model: str, input_json: str, cancel_after: float, timeout: float, webhook: str | None = None
    ) -> CreateOutcome:
        """Asks for one prediction, once, and says what is known then. It must not be cancelled: the answer holds a paid id.

        `input_json` goes out as the bytes that it is: reading its numbers and writing them again would change large seeds.
        `webhook` is where Replicate is to report that the prediction begins and ends.
        """
        body = b'{"version":' + orjson.dumps(model) + b',"input":' + input_json.encode()
        if webhook is not None:
            body += b',"webhook":' + orjson.dumps(webhook) + b',"webhook_events_filter":["start","completed"]'
        body += b"}"
        headers = {"Content-Type": "application/json", "Cancel-After": f"{max(5, int(cancel_after))}s"}
        limits = aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_SECONDS)
        try:
            with replicate.measured("create") as statuses, creates_in_flight.track_inprogress():
                async with (
                    failpoint_within("generator.create.sent", 0.2),
                    self._creates.post(
                        self._url / "v1/predictions", data=body, headers=headers, timeout=limits, allow_redirects=False
                    ) as response,
                ):
                    statuses.append(response.status)
                    return create_outcome(response.status, response.headers, await _read(response))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:  # no connection, so not a byte of it left
            return Refused(REFUSAL_KIND_NOT_SENT, 0, "not_sent", f"Replicate could not be reached: {type(error).__name__}")
        except (aiohttp.ClientError, TimeoutError, ReadFailed, OSError) as error:
            return Unknown(f"{type(error).__name__} after the request was sent")

    async def get(self, prediction_id: str) -> Prediction:
        """One prediction; raises NotFound or ReadFailed."""
        return _prediction(await self._answer("get", "GET", self._url / "v1/predictions" / prediction_id))

    async def cancel(self, prediction_id: str) -> None:
        """Asks for a prediction's end. It may have ended before, so read its state again. Raises NotFound or ReadFailed."""
        await self._answer("cancel", "POST", self._url / "v1/predictions" / prediction_id / "cancel")

    async def page(self, *, created_before: str | None = None, cursor: str | None = None) -> Page:
        """A page of the list: the newest, the newest before a time, or the one after another; raises ReadFailed."""
        query = {"cursor": cursor} if cursor else {"created_before": created_before} if created_before else {}
        answer = await self._answer("list", "GET", (self._url / "v1/predictions").with_query(query))
        results = answer.json.get("results") if isinstance(answer.json, dict) else None
        if not isinstance(results, list) or not all(isinstance(item, dict) and isinstance(item.get("id"), str) for item in results):
            raise ReadFailed("the list of predictions cannot be understood")
        return Page(results, _cursor(answer.json.get("next")), answer.date)

    async def account_answers(self) -> bool:
        """Whether the account itself is in order: then a refusal is about the model alone."""
        try:
            await self._answer("account", "GET", self._url / "v1/account")
        except (ReadFailed, NotFound):
            return False
        return True

    async def _answer(self, call: str, method: str, url: URL) -> "_Answer":
        try:
            with replicate.measured(call) as statuses:
                async with self._reads.request(method, url, allow_redirects=False) as response:
                    statuses.append(response.status)
                    body = await _read(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ReadFailed(f"{call}: {type(error).__name__}") from error
        if response.status == 404:
            raise NotFound(url.path)
        if response.status == 429:
            raise ReadFailed(f"{call}: HTTP 429", retry_after(response.headers, body))
        if not 200 <= response.status < 300:
            raise ReadFailed(f"{call}: HTTP {response.status} {parse_problem(body).message}"[:300])
        self._clock.learn(response.headers.get("Date"))
        try:
            return _Answer(orjson.loads(body), parse_date(response.headers.get("Date")))
        except orjson.JSONDecodeError:
            raise ReadFailed(f"{call}: HTTP {response.status} that is not JSON") from None


class _Answer(NamedTuple):
    json: Any
    date: datetime.datetime | None


def _cursor(following: Any) -> str | None:
    """The cursor alone: a URL in an answer must not decide whom the token is sent to. Raises ReadFailed."""
    if following is None:
        return None
    try:
        return URL(following).query["cursor"]
    except (TypeError, ValueError, KeyError):
        raise ReadFailed("the list's link to its next page cannot be understood") from None


def _prediction(answer: _Answer) -> Prediction:
    if not isinstance(answer.json, dict) or not isinstance(answer.json.get("status"), str):
        raise ReadFailed("the prediction cannot be understood")
    return answer.json


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise ReadFailed(f"an answer above {MAX_BODY_BYTES} bytes")
    return bytes(body)


@contextlib.asynccontextmanager
async def replicate_api(url: str, token: str | None) -> AsyncIterator[ReplicateApi]:
    """The API while the context lasts. Where there is no token, a word stands for it: a simulator wants one, whichever it is."""
    headers: Mapping[str, str] = {"User-Agent": "mediagen", "Authorization": f"Bearer {token or 'none'}"}
    async with (
        # A create on a connection that the server is just closing would be of unknown outcome, so none idles for long.
        aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=2)) as creates,
        aiohttp.ClientSession(
            headers=headers,
            connector=aiohttp.TCPConnector(limit=32),
            timeout=aiohttp.ClientTimeout(total=READ_SECONDS, sock_connect=CONNECT_SECONDS),
        ) as reads,
    ):
        yield ReplicateApi(url, creates, reads)
