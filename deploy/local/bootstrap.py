"""`make setup`: everything that the system and its tests need, on a machine that has make, python3 and apt.

With --python-only it is uv and the Python packages, which is all that `make kind` and `make helm` need, on any system.

Runs on the bare python3 with the standard library only. What is in place is left alone, so a second call takes no time:
uv lives in .local/uv, the Python packages in .venv, and a stamp in .venv names the requirements it was filled from.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import packages
from progress import StepFailed, run_step

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / ".local"
UV_HOME = LOCAL / "uv"
VENV = ROOT / ".venv"
REQUIREMENTS = ROOT / "requirements" / "dev.txt"
UV_REQUIREMENTS = ROOT / "requirements" / "uv.txt"
LOG = LOCAL / "setup.log"
OLDEST, NEWEST = (3, 11), (3, 13)


def main() -> int:
    """Set everything up; the exit code is 1 where a step failed, with its reason on standard error."""
    version = sys.version_info[:2]
    if not OLDEST <= version <= NEWEST:
        found = ".".join(map(str, version))
        print(f"mediagen needs Python 3.11 to 3.13 and found {found}: make PYTHON=/path/to/python3.x", file=sys.stderr)
        return 1
    LOG.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (LOCAL / "setup.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once would install into each other
            packages.install_missing(LOG, python_only="--python-only" in sys.argv[1:])
            install_uv()
            fill_venv()
    except StepFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; make setup goes on where it stopped", file=sys.stderr)
        return 130
    return 0


def install_uv() -> None:
    """Put uv into a virtual environment of its own, so that nothing of the user's is touched."""
    stamp = UV_HOME / "mediagen-stamp"
    wanted = fingerprint(UV_REQUIREMENTS)
    if (UV_HOME / "bin" / "uv").exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    run_step("preparing .local/uv", [sys.executable, "-m", "venv", "--clear", str(UV_HOME)], LOG)
    pip = [str(UV_HOME / "bin" / "pip"), "install", "--require-hashes", "-r", str(UV_REQUIREMENTS)]
    run_step("installing uv", pip, LOG, {"PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    stamp.write_text(wanted)


def fill_venv(venv: Path = VENV, requirements: Path = REQUIREMENTS) -> None:
    """Make a virtual environment hold exactly what the requirements lock: .venv what requirements/dev.txt does."""
    wanted, stamp, python = fingerprint(requirements), venv / "mediagen-stamp", venv / "bin" / "python"
    if stamp.exists() and stamp.read_text() == wanted and python.exists():
        return
    uv, name = str(UV_HOME / "bin" / "uv"), venv.relative_to(ROOT)
    environment = {"UV_PYTHON_DOWNLOADS": "never", **pip_sources()}
    if not python.exists():
        run_step(f"preparing {name}", [uv, "venv", "--clear", "--python", sys.executable, str(venv)], LOG, environment)
    sync = [uv, "pip", "sync", "--python", str(python), "--require-hashes", str(requirements)]
    run_step(f"installing the Python packages into {name}", sync, LOG, environment)
    stamp.write_text(wanted)


def fingerprint(requirements: Path) -> str:
    """What a stamp holds: the requirements' hash and the Python they were installed for."""
    return f"{hashlib.sha256(requirements.read_bytes()).hexdigest()} {sys.version_info[:2]}"


def pip_sources() -> dict[str, str]:
    """uv's settings for pip's own index and certificate: uv reads none of pip's, and a mirror is set up once."""
    sources = {}
    for pip_name, uv_name in (("index-url", "UV_DEFAULT_INDEX"), ("cert", "SSL_CERT_FILE")):
        value = os.environ.get(f"PIP_{pip_name.upper().replace('-', '_')}") or _pip_setting(pip_name)
        if value and uv_name not in os.environ:
            sources[uv_name] = value
    return sources


def _pip_setting(name: str) -> str:
    """One setting of pip's configuration files, or nothing."""
    command = [str(UV_HOME / "bin" / "pip"), "config", "get", f"global.{name}"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
