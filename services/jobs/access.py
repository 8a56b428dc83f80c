"""Tokens that stand for a key, each for one thing alone. The tenant's signing secret makes them, and ends all when it changes.

An access token lets whoever holds it read one output, as an <img> must. It is `<expiry>.<signature>`: Unix seconds (0 for never),
and an HMAC over tenant, job, index and expiry. A webhook's token lets Replicate speak of one create; it is an HMAC over its intent.
"""

import base64
import hashlib
import hmac
import time


def sign(secret: bytes, tenant: str, job: str, index: int, expires: int) -> str:
    """The token for one output; `expires` is Unix seconds, 0 for never."""
    return f"{expires}.{_signature(secret, f'{tenant}/{job}/{index}/{expires}')}"


def verify(token: str, secret: bytes, tenant: str, job: str, index: int) -> bool:
    """Whether the token is this tenant's for this output, and has not expired."""
    expires, _, _ = token.partition(".")
    if not expires.isascii() or not expires.isdigit() or len(expires) > 12:
        return False
    if not hmac.compare_digest(token.encode(), sign(secret, tenant, job, index, int(expires)).encode()):
        return False
    return int(expires) == 0 or int(expires) > time.time()


def sign_webhook(secret: bytes, intent: str) -> str:
    """The token of the webhook of one create. No tenant's id begins like this, so it is never an output's token."""
    return _signature(secret, f"replicate-webhook/{intent}")


def verify_webhook(token: str, secret: bytes, intent: str) -> bool:
    """Whether the token is this intent's."""
    return hmac.compare_digest(token.encode(), sign_webhook(secret, intent).encode())


def _signature(secret: bytes, text: str) -> str:
    digest = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
