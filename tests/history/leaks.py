"""Secrets and prompts where they must not be: in logs, and in what RabbitMQ carries."""

import base64
import json
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from history.evidence import Evidence, Row
from history.system import System

SHORTEST_PROMPT = 8
"""Shorter prompts are not looked for: they are words that logs are full of."""


def search(system: System, evidence: Evidence, secrets: Iterable[str]) -> tuple[int, list[Row]]:
    """Looks for the system's secrets, these others, and all prompts. Returns how many bytes were read, and the leaks."""
    services = system.services
    known = {
        **{secret: "a tenant's secret" for secret in secrets},
        services.worker_token: "the workers' token",
        services.store.secret_key: "the S3 secret",
        _password(services.database_url): "the password of PostgreSQL",
        _password(services.amqp_url): "the password of RabbitMQ",
        "Bearer mg_": "an API key",
        "?sig=": "a link's signature",
        "?token=": "the token of a webhook's URL",
        **{job["prompt"]: f"the prompt of {job['id']}" for job in evidence.jobs if len(job["prompt"]) >= SHORTEST_PROMPT},
    }
    return find(known, system.log_files(), _bodies(evidence))


def find(known: dict[str, str], files: list[Path], bodies: Iterable[tuple[str, bytes]]) -> tuple[int, list[Row]]:
    """Looks for each text of `known`, as it is and as JSON writes it, in files and in bodies that have names."""
    patterns = {form: what for text, what in known.items() for form in (text, json.dumps(text, ensure_ascii=False)[1:-1])}
    read, leaks = 0, []
    for file in files:
        read += file.stat().st_size
        leaks += [_leak(str(file), line, patterns) for line in _grep(patterns, file)]
    for name, body in bodies:
        read += len(body)
        text = body.decode(errors="replace")
        if any(pattern in text for pattern in patterns):
            leaks.append(_leak(name, text, patterns))
    return read, leaks


def _grep(patterns: Iterable[str], file: Path) -> Iterator[str]:
    """The lines of a file that hold one of many fixed texts; grep looks for all of them at once."""
    with tempfile.NamedTemporaryFile("w", suffix=".patterns") as list_of_them:
        # a text of several lines is found by any of its longer lines
        lines = {line for pattern in patterns for line in pattern.splitlines() if len(line) >= min(6, len(pattern))}
        list_of_them.write("\n".join(lines) + "\n")
        list_of_them.flush()
        done = subprocess.run(
            ["grep", "-a", "-F", "-f", list_of_them.name, "--", str(file)],
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            check=False,
        )
    if done.returncode > 1:
        raise RuntimeError(f"grep failed on {file}: {done.stderr.decode()}")
    yield from done.stdout.decode(errors="replace").splitlines()


def _leak(where: str, line: str, patterns: dict[str, str]) -> Row:
    """A leak, told without repeating it."""
    what = next((what for pattern, what in patterns.items() if pattern in line), "part of a text of several lines")
    for pattern in patterns:
        line = line.replace(pattern, "▒▒▒")
    return {"where": where, "what": what, "line": line[:500]}


def _bodies(evidence: Evidence) -> Iterator[tuple[str, bytes]]:
    for queue in evidence.queues:
        for body in queue["bodies"]:
            yield queue["name"], base64.b64decode(body)


def _password(url: str) -> str:
    return urlsplit(url).password or ""
