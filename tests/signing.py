"""Webhooks as Replicate would sign them."""

import datetime
import uuid

from standardwebhooks import Webhook

SECRET = "whsec_dGhlIHNlY3JldCBvZiB0aGVzZSB0ZXN0cw=="


def signed(body: bytes, secret: str = SECRET, webhook_id: str = "", age: float = 0) -> dict[str, str]:
    """The headers of a webhook with this body, signed so many seconds ago."""
    webhook_id = webhook_id or f"msg_{uuid.uuid4().hex}"
    at = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, at, body.decode()),
    }
