"""`make kind`: a cluster of kind with the images of this checkout and the chart in it, and one job to its picture.

What is there already is kept: a second call brings what has changed into the same cluster. Exit codes: 0 done, 1 failed, 2 where
a program is missing.
"""

import os
import shutil
import subprocess
import sys

from rich.console import Console

import helm
from bootstrap import ROOT
from demo import DemoFailed, run_job
from instance import STATE
from progress import StepFailed
from services import SERVICES

CLUSTER = RELEASE = NAMESPACE = "mediagen"
CONTEXT = f"kind-{CLUSTER}"
KIND = ROOT / "deploy" / "kind"
CHART = ROOT / "deploy" / "helm" / "mediagen"
URL = "http://127.0.0.1:8080"
PROMPT = "a lighthouse at dusk, oil on canvas"
PROGRAMS = ("docker", "kind", "kubectl")


def run(*command: str, quiet: bool = False) -> str:
    """Run a command, whose output is shown, or returned where it is to be quiet. Raises StepFailed where it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE if quiet else None, text=True, check=False)
    if done.returncode != 0:
        raise StepFailed(f"{' '.join(command)} failed with exit code {done.returncode}")
    return (done.stdout or "").strip()


def kubectl(*arguments: str, quiet: bool = False) -> str:
    """Run kubectl in the release's namespace."""
    return run("kubectl", "--context", CONTEXT, "--namespace", NAMESPACE, *arguments, quiet=quiet)


def load_images(tag: str) -> dict[str, str]:
    """Give the cluster the images that `make images` built with this tag, and return each one's tag there.

    That one names the image's content: pods are replaced and the schema is migrated where it has changed, and only there.
    """
    tags = {}
    for service in SERVICES:
        identity = run("docker", "image", "inspect", "--format", "{{.Id}}", f"mediagen/{service}:{tag}", quiet=True)
        tags[service] = identity.removeprefix("sha256:")[:12]
        run("docker", "tag", f"mediagen/{service}:{tag}", f"mediagen/{service}:{tags[service]}")
    run("kind", "load", "docker-image", "--name", CLUSTER, *[f"mediagen/{service}:{tags[service]}" for service in SERVICES])
    return tags


def install(tags: dict[str, str]) -> None:
    """Install the chart, or upgrade what is there, and wait until all of it is ready."""
    images = [f"--set-string={service}.image.tag={tag}" for service, tag in tags.items()]
    kubectl("apply", "--filename", str(KIND / "namespace.yaml"))
    where = ["--kube-context", CONTEXT, "--namespace", NAMESPACE]
    values = ["--values", str(KIND / "values.yaml"), *images]
    run(str(helm.provide(4)), *where, "upgrade", "--install", RELEASE, str(CHART), *values, "--wait", "--timeout", "10m")


def main() -> int:
    """All of it."""
    console = Console(highlight=False, soft_wrap=True)
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        print(f"make kind needs {', '.join(missing)} on the PATH; https://kind.sigs.k8s.io tells how to have them", file=sys.stderr)
        return 2
    try:
        if CLUSTER not in run("kind", "get", "clusters", quiet=True).split():
            run("kind", "create", "cluster", "--config", str(KIND / "cluster.yaml"))
        install(load_images(os.environ["IMAGE_TAG"]))
        create = ("python", "-m", "jobs", "keys", "create", "--tenant", "default", "--name", "make kind")
        key = kubectl("exec", f"deployment/{RELEASE}-jobs", "--container", "jobs", "--", *create, quiet=True)
        files = run_job(console, URL, key, os.environ.get("PROMPT", PROMPT), "", STATE / "out")
    except (StepFailed, DemoFailed) as failure:
        print(failure, file=sys.stderr)
        return 1
    for file in files:
        console.print(f"saved as {file}")
    console.print(f"the API: {URL}/docs\nits key: {key}")
    console.print(f"scaling: kubectl --context {CONTEXT} -n {NAMESPACE} scale deployment/{RELEASE}-generator --replicas=4")
    return 0


if __name__ == "__main__":
    sys.exit(main())
