"""Files that clients upload to use them as inputs: /v1/files."""

import hashlib
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from simulator.prediction import stamp

LIFETIME_SECONDS = 86_400.0
"""Uploads expire after a day."""

MAXIMAL_BYTES = 100 << 20
"""The size of one upload."""

CAPACITY_BYTES = 256 << 20
"""What all uploads may take in memory; the oldest make room."""


@dataclass(frozen=True)
class Upload:
    """An uploaded file. Times are in seconds since 1970."""

    name: str
    content_type: str
    content: bytes
    metadata: dict[str, Any]
    created: float = field(default_factory=time.time)
    id: str = field(default_factory=lambda: secrets.token_urlsafe(36))

    def view(self, api_url: str) -> dict[str, Any]:
        """The file object of the API. Client 1.0.7 demands `name` and `etag`, which newer ones have dropped."""
        return {
            "id": self.id,
            "name": self.name,
            "content_type": self.content_type,
            "size": len(self.content),
            "etag": hashlib.md5(self.content, usedforsecurity=False).hexdigest(),
            "checksums": {"sha256": hashlib.sha256(self.content).hexdigest()},
            "metadata": self.metadata,
            "created_at": stamp(self.created),
            "expires_at": stamp(self.created + LIFETIME_SECONDS),
            "urls": {"get": f"{api_url}/v1/files/{self.id}"},
        }


class Uploads:
    """All uploads that are still there."""

    def __init__(self) -> None:
        """None yet."""
        self._kept: OrderedDict[str, Upload] = OrderedDict()

    def add(self, upload: Upload) -> None:
        """Keeps it, and lets the oldest go where all of them would take too much memory."""
        self._kept[upload.id] = upload
        while len(self._kept) > 1 and sum(len(kept.content) for kept in self._kept.values()) > CAPACITY_BYTES:
            self._kept.popitem(last=False)

    def newest_first(self) -> list[Upload]:
        """Those that have not expired."""
        since = time.time() - LIFETIME_SECONDS
        return [upload for upload in reversed(self._kept.values()) if upload.created > since]

    def get(self, upload_id: str) -> Upload | None:
        """The one with that id."""
        return next((upload for upload in self.newest_first() if upload.id == upload_id), None)

    def delete(self, upload_id: str) -> None:
        """Removes it."""
        self._kept.pop(upload_id, None)
