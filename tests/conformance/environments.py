"""The environments of the official clients: one each under .local, made when they are first wanted and kept."""

import fcntl
import os
import subprocess
from pathlib import Path

import bootstrap

SCRIPTS = Path(__file__).parent
CLIENTS = {1: "1.0.7", 2: "2.0.0b4"}
"""The versions of `replicate`, by the number of their requirements and script."""


def python_of(client: int) -> Path:
    """The Python that has this client and what it needs, and nothing else; raises StepFailed where it can't be made."""
    venv = bootstrap.LOCAL / f"conformance-{client}"
    with (bootstrap.LOCAL / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        bootstrap.install_uv()
        bootstrap.fill_venv(venv, bootstrap.ROOT / "requirements" / f"conformance-{client}.txt")
    return venv / "bin" / "python"


def run(client: int, url: str, webhook_port: int) -> subprocess.CompletedProcess[str]:
    """Runs the client's script against a simulator; every line that it prints names something that went well."""
    command = [str(python_of(client)), "-W", "error::ResourceWarning", str(SCRIPTS / f"client_{client}.py"), url, str(webhook_port)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("REPLICATE_", "PYTHON"))}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
