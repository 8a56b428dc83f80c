"""Access tokens: they let whoever holds one read one output without a key, as an <img> must.

A token is `<expiry>.<signature>`: Unix seconds (0 for never), and an HMAC over tenant, job, index and expiry under the tenant's
signing secret, which ends all of them when it changes.
"""

import base64
import hashlib
import hmac
import time


def sign(secret: bytes, tenant: str, job: str, index: int, expires: int) -> str:
    """The token for one output; `expires` is Unix seconds, 0 for never."""
    digest = hmac.new(secret, f"{tenant}/{job}/{index}/{expires}".encode(), hashlib.sha256).digest()
    return f"{expires}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def verify(token: str, secret: bytes, tenant: str, job: str, index: int) -> bool:
    """Whether the token is this tenant's for this output, and has not expired."""
    expires, _, _ = token.partition(".")
    if not expires.isascii() or not expires.isdigit() or len(expires) > 12:
        return False
    if not hmac.compare_digest(token.encode(), sign(secret, tenant, job, index, int(expires)).encode()):
        return False
    return int(expires) == 0 or int(expires) > time.time()
