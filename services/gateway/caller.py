"""Who makes a request, as `jobs` is told: the gateway passes it on and decides nothing by it."""

import re
import secrets
from dataclasses import dataclass
from typing import Self

import grpc
from starlette.requests import Request

from chassis import tracing
from chassis.channel import REQUEST_ID, TRACEPARENT
from chassis.errors import AppError

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_AUTHORIZATION = re.compile(r"[\x20-\x7e]{1,1024}")

Metadata = tuple[tuple[str, str], ...]
"""What travels beside a gRPC request."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What one HTTP request says about its maker."""

    authorization: str | None
    """The Authorization header as it came; None without one."""
    request_id: str
    """The id that every log line about the request carries."""
    traceparent: str | None = None
    """W3C trace context of what is done for it, where it belongs to a trace."""

    @classmethod
    def of(cls, request: Request) -> Self:
        """Reads it from a request; raises AppError where the Authorization header could never hold a key."""
        authorization = request.headers.get("authorization")
        if authorization is not None and not _AUTHORIZATION.fullmatch(authorization):
            raise AppError(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", "The Authorization header holds no API key.")
        return cls(authorization, request.state.request_id, tracing.traceparent() or None)

    @classmethod
    def anonymous(cls, request: Request) -> Self:
        """Reads it from a request without looking at its key, for what another token allows."""
        return cls(None, request.state.request_id, tracing.traceparent() or None)

    def metadata(self) -> Metadata:
        """As gRPC metadata."""
        pairs = [(REQUEST_ID, self.request_id)]
        if self.authorization is not None:
            pairs.append(("authorization", self.authorization))
        if self.traceparent is not None:
            pairs.append((TRACEPARENT, self.traceparent))
        return tuple(pairs)


def request_id_of(header: str | None) -> str:
    """The caller's X-Request-Id where it is a sane one, otherwise a new id."""
    if header is not None and _REQUEST_ID.fullmatch(header):
        return header
    return secrets.token_hex(16)
