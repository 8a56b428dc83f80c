"""The webhook that a create carries: its URL names the intent, which tells whose prediction it is wherever Replicate shows it."""

import re
from typing import Any

_INTENT = re.compile(r"/webhooks/replicate/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\?|$)")


def webhook_url(public_url: str | None, intent_id: str, token: str) -> str | None:
    """Where Replicate is to report. None where the gateway has no public URL, or jobs gave no token: then it will be polled."""
    if public_url is None or not token:
        return None
    return f"{public_url.rstrip('/')}/webhooks/replicate/{intent_id}?token={token}"


def intent_of(prediction: dict[str, Any]) -> str | None:
    """The intent whose create made a prediction, by the webhook that Replicate shows of it; None where it shows none of ours."""
    url = prediction.get("webhook")
    found = _INTENT.search(url) if isinstance(url, str) else None
    return found[1] if found else None
