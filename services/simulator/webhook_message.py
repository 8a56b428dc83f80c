"""One webhook as it goes over the wire: a body, signed as Standard Webhooks wants it, and what became of its request."""

import base64
import io
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
from standardwebhooks import Webhook

from simulator.webhook_events import Event

RETRIES = 6
"""How often the message about an end is tried again."""


@dataclass(slots=True)
class SignedRequest:
    """A request with a message, signed as of a moment."""

    id: str
    body: bytes
    moment: int
    """In seconds since 1970."""
    signature: str | None = None

    def sign(self, secret: str) -> None:
        """Signs what it holds now."""
        self.signature = Webhook(secret).sign(self.id, datetime.fromtimestamp(self.moment, UTC), self.body.decode())

    def headers(self) -> dict[str, str]:
        """The headers that it is sent with."""
        headers = {"Content-Type": "application/json", "webhook-id": self.id, "webhook-timestamp": str(self.moment)}
        return headers if self.signature is None else {**headers, "webhook-signature": self.signature}


@dataclass(slots=True)
class Message:
    """A message to a webhook; each time it is sent it carries the same id and body, and a signature of that time."""

    event: Event
    body: bytes
    since: float
    """When it was due for the first time, in seconds since 1970."""
    retried: bool
    """Whether it is sent again where it was not taken: only the one about the end is."""
    id: str = field(default_factory=lambda: f"msg_{secrets.token_hex(14)}")
    attempts: int = 0
    """How often it was sent so far."""

    def request(self, secret: str, now: float) -> SignedRequest:
        """The request of an attempt at `now`."""
        request = SignedRequest(self.id, self.body, int(now))
        request.sign(secret)
        return request

    def next_attempt(self, now: float, last: float) -> float | None:
        """When it is sent again: waits that double, the last of which ends `last` seconds after it was due; then None."""
        if not self.retried:
            return None
        moments = (self.since + last * (2**number - 1) / (2**RETRIES - 1) for number in range(1, RETRIES + 1))
        return next((moment for moment in moments if moment > now), None)


def other_secret() -> str:
    """A secret that nobody knows."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"


async def post(session: aiohttp.ClientSession, url: str, request: SignedRequest) -> int | str:
    """Sends a request and returns the status of its answer, or in words why there is none. No redirect is followed."""
    try:
        body = io.BytesIO(request.body)  # bytes as such, where they are many, would be sent in one piece
        async with session.post(url, data=body, headers=request.headers(), allow_redirects=False) as answer:
            return answer.status
    except TimeoutError:
        return "timed out"
    except (aiohttp.ClientError, OSError, ValueError):  # a ValueError is a host that no name can be, as in https://a..b
        return "connection failed"
