"""`/webhooks/replicate/{intent_id}`: what Replicate reports about predictions, verified here and passed on to `jobs` as ids alone.

Replicate signs every webhook with a secret of the account, as Standard Webhooks has it: over the message's id, its time, and the
bytes of its body. What was not answered with 2xx it repeats for about a minute, and only where a prediction has ended.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import orjson
import structlog
from fastapi import FastAPI
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.requests import Request
from starlette.responses import Response

from chassis.failpoints import failpoint
from gateway.caller import Caller
from gateway.jobs_client import JobsClient
from gateway.problems import ProblemError
from gateway.thin import ThinRoute
from mediagen.jobs.v1 import jobs_pb2

log = structlog.get_logger()

PREFIX = "/webhooks/replicate/"

MAX_BODY_BYTES = 16 * 1024 * 1024
"""A webhook's body is the whole prediction, with its input, its logs, and sometimes its output in place."""

SMALL_BODY_BYTES = 64 << 10
"""Bodies up to this are verified and read in less time than a thread for it takes to begin: a fraction of a millisecond."""

BODIES_AT_ONCE = 4
"""How many bodies are in memory at once: before it is there to the last byte, nobody knows who has sent one."""

BODY_SECONDS = 10.0
"""How long a body may take to arrive, or to get its turn."""

ENDED = frozenset({"succeeded", "failed", "canceled", "aborted"})

_SIGNED_BY = ("webhook-id", "webhook-timestamp", "webhook-signature")
_WEBHOOK_ID = re.compile(r"[\x21-\x7e]{1,255}")
_PREDICTION_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_INTENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class WebhookRoutes:
    """The handler of Replicate's webhooks."""

    def __init__(self, jobs: JobsClient, secrets: Sequence[str]) -> None:
        """A webhook that any of the `secrets` has signed is believed; raises ValueError for what is no secret."""
        self._jobs = jobs
        self._verifiers = [Webhook(secret) for secret in secrets]
        self._room = asyncio.Semaphore(BODIES_AT_ONCE)

    def add_to(self, app: FastAPI) -> list[ThinRoute]:
        """Adds it to the application; returns what is to be served ahead of it. The API's document does not have it: it is for
        Replicate alone.
        """
        route = ThinRoute(PREFIX + "{intent_id}", self.receive, methods=["POST"], name="webhook", include_in_schema=False)
        app.router.routes.append(route)
        return [route]

    async def receive(self, request: Request) -> Response:
        """Answers 204 once `jobs` has stored what the webhook says."""
        intent_id: str = request.path_params["intent_id"]
        if not _INTENT_ID.fullmatch(intent_id):
            raise ProblemError(403, "webhook_token_invalid", "This webhook's URL is none that was given out, or was withdrawn.")
        for name in _SIGNED_BY:  # before its body is read
            if name not in request.headers:
                raise _not_believed(f"It has no header {name}.")
        prediction = await self._verified(request)
        failpoint("gateway.webhook.verified")
        note = jobs_pb2.NoteWebhookRequest(
            webhook_id=request.headers["webhook-id"],
            intent_id=intent_id,
            token=request.query_params.get("token", "")[:255],
            prediction_id=prediction["id"],
            ended=prediction["status"] in ENDED,
        )
        await self._jobs.note_webhook(Caller.anonymous(request), note)
        log.info("webhook.noted", intent_id=intent_id, prediction_id=note.prediction_id, status=prediction["status"][:40])
        return Response(status_code=204)

    async def _verified(self, request: Request) -> dict[str, Any]:
        """The prediction that a webhook shows; raises ProblemError with 400, 401, 408 or 413."""
        try:
            async with asyncio.timeout(BODY_SECONDS), self._room:
                headers, body = dict(request.headers), await request.body()
                if len(body) <= SMALL_BODY_BYTES:
                    return self._read(headers, body)
                return await asyncio.to_thread(self._read, headers, body)
        except TimeoutError:
            raise ProblemError(408, "body_too_slow", f"The body did not arrive within {BODY_SECONDS:.0f} s.") from None

    def _read(self, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        self._believe(headers, body)
        try:
            shown = orjson.loads(body)
            if _PREDICTION_ID.fullmatch(shown["id"]) and _WEBHOOK_ID.fullmatch(headers["webhook-id"]) and shown["status"].isascii():
                return dict(shown)
        except (ValueError, TypeError, LookupError, AttributeError):
            pass
        raise ProblemError(400, "invalid_webhook", "The webhook is signed, but shows no prediction with an id and a status.")

    def _believe(self, headers: dict[str, str], body: bytes) -> None:
        """Raises a 401 unless one of the secrets has signed these very bytes in the last five minutes."""
        reason = "It is signed by nobody."
        for verifier in self._verifiers:
            try:
                verifier.verify(body, headers, json_parse=False)
            except WebhookVerificationError as error:
                reason = f"{error}."
            except ValueError:
                reason = "Its signature has not the form of one, or its body is no text."
            else:
                return
        raise _not_believed(reason)


def _not_believed(reason: str) -> ProblemError:
    return ProblemError(401, "webhook_signature_invalid", f"The webhook is not believed. {reason}")
