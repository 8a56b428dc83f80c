"""PostgreSQL, RabbitMQ, Prometheus and libfaketime from the distribution, and Python's venv module, where they are missing.

Only Debian and its relatives (apt) are served; elsewhere a sentence says what to install. Services that apt would
start are neither started nor enabled: this project runs private instances of its own.
Standard library only: this runs before anything is installed.
"""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from progress import StepFailed, run_step

RABBITMQ_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
POLICY = Path("/usr/sbin/policy-rc.d")
SERVICES = ("postgresql", "rabbitmq-server", "epmd.socket", "epmd", "prometheus")
APT_OPTIONS = ("-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300")


def postgresql_programs() -> list[Path]:
    """Folders that hold PostgreSQL's server programs, the newest version first."""
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    versions.sort(key=lambda path: int(path.parent.name), reverse=True)
    elsewhere = shutil.which("initdb")
    return versions or ([Path(elsewhere).resolve().parent] if elsewhere else [])


def missing_packages(*, python_only: bool = False) -> list[str]:
    """The distribution's packages that this machine still lacks: all that the project uses, or what Python itself lacks."""
    missing = []
    if importlib.util.find_spec("ensurepip") is None:
        missing.append("python3-venv")
    if python_only:
        return missing
    if not postgresql_programs():
        missing.append("postgresql")
    if not RABBITMQ_SERVER.exists():
        missing.append("rabbitmq-server")
    if libfaketime() is None:
        missing.append("libfaketime")
    if shutil.which("promtool") is None:
        missing.append("prometheus")
    return missing


def libfaketime() -> Path | None:
    """What sets the clock of one process, for tests; None where it is not installed."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


def install_missing(log: Path, *, python_only: bool = False) -> None:
    """Install what is missing; raise StepFailed with the command to type where that is not possible."""
    names = missing_packages(python_only=python_only)
    if not names:
        return
    if shutil.which("apt-get") is None:
        raise StepFailed(
            f"missing on this machine: {', '.join(names)}. Only Debian and Ubuntu are set up by themselves: install "
            "Python's venv module, PostgreSQL 14 or newer, RabbitMQ 3.10 or newer "
            f"(as {RABBITMQ_SERVER}), libfaketime, and Prometheus 2.31 or newer with its promtool by hand, then run make again."
        )
    as_root = _as_root(names)
    apt = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    with _services_not_started(as_root):
        run_step("reading the distribution's package lists", [*apt, "update", "-q"], log)
        run_step(f"installing {', '.join(names)} from the distribution", [*apt, "install", *APT_OPTIONS, *names], log)
    still_missing = missing_packages(python_only=python_only)
    if still_missing:
        raise StepFailed(f"apt-get installed {', '.join(names)}, yet {', '.join(still_missing)} cannot be found")


def _as_root(names: list[str]) -> list[str]:
    """The words that make a command run as root: none for root itself."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        raise StepFailed(f"installing needs root and there is no sudo; as root, type: apt-get install {' '.join(names)}")
    return ["sudo"]


@contextmanager
def _services_not_started(as_root: list[str]) -> Iterator[None]:
    """Keep apt from starting what it installs; a policy that the machine already has stays as it is."""
    own_policy = not POLICY.exists()
    installed_before = {name for name in SERVICES if _unit_exists(name)}
    log = Path(os.devnull)
    if own_policy:
        deny = f"printf '#!/bin/sh\\nexit 101\\n' > {POLICY} && chmod 755 {POLICY}"
        run_step("asking apt not to start services", [*as_root, "sh", "-c", deny], log)
    try:
        yield
    finally:
        if own_policy:
            run_step("letting apt start services again", [*as_root, "rm", "-f", str(POLICY)], log)
        new = [name for name in SERVICES if _unit_exists(name) and name not in installed_before]
        if new and shutil.which("systemctl"):
            # Otherwise the next boot would start them. A container without systemd answers with an error: harmless.
            disable = f"systemctl disable {' '.join(new)} || true"
            run_step(f"leaving {', '.join(new)} switched off", [*as_root, "sh", "-c", disable], log)


def _unit_exists(name: str) -> bool:
    """Whether systemd would find a unit of this name."""
    file = name if "." in name else f"{name}.service"
    return any((Path(folder) / file).exists() for folder in ("/lib/systemd/system", "/usr/lib/systemd/system"))
