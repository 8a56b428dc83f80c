"""The passwords and tokens of one instance: made once, kept in a file that only its owner can read."""

import json
import os
import secrets
from pathlib import Path

GENERATED = ("postgresql", "rabbitmq", "s3_access_key", "s3_secret_key", "worker_token", "webhook_secret")


class Credentials:
    """A small table of secrets: the generated ones, and an API key once there is one."""

    def __init__(self, file: Path) -> None:
        """Read the file, and make what it lacks."""
        self._file = file
        self._values: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        missing = [name for name in GENERATED if name not in self._values]
        if missing:
            self._values |= {name: secrets.token_hex(16) for name in missing}
            self._save()

    def __getitem__(self, name: str) -> str:
        """The secret of this name."""
        return self._values[name]

    @property
    def api_key(self) -> str:
        """The API key that the instance made for its owner; empty before that."""
        return self._values.get("api_key", "")

    @api_key.setter
    def api_key(self, key: str) -> None:
        self._values["api_key"] = key
        self._save()

    def _save(self) -> None:
        write_private(self._file, json.dumps(self._values, indent=2) + "\n")


def write_private(file: Path, text: str) -> None:
    """Write a file that nobody but its owner can read, not even for a moment."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    draft.replace(file)
