"""Releases in namespaces of their own, and a client that remembers everything."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from e2e.cluster import CommandFailed, Namespace, run
from e2e.release import Release
from history.checker import check
from history.collect import collect
from history.recorder import Recorder
from upgrade.balancing import Ingress, Rotation


@pytest.fixture(scope="session")
def cluster() -> None:
    """Ends all at once, in a line, where kubectl speaks to none."""
    try:
        run("kubectl", "get", "nodes", seconds=30)
    except (CommandFailed, OSError, subprocess.TimeoutExpired) as error:
        reason = str(error).splitlines()[-1]
        pytest.exit(f"kubectl reaches no cluster ({reason}): set KUBECONFIG, or start one, such as by make kind", returncode=2)


@pytest.fixture(scope="session")
def new_release(
    cluster: None, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[[str, int], Release]]:
    """Makes releases that are not installed yet, each in an empty namespace. At the end all go, or tell what is in them."""
    made: list[Release] = []

    def make(name: str, major: int) -> Release:
        release = Release(Namespace(f"mediagen-e2e-{name}"), major, Path(tmp_path_factory.mktemp(name)))
        made.append(release)
        return release

    yield make
    for release in made:
        if request.session.testsfailed:
            print(release.namespace.kubectl("get", "pods,jobs"), release.namespace.kubectl("events"), sep="\n")
            print(*[f"{log.name}: {line}" for log in release.log_files() for line in log.read_text().splitlines()[-40:]], sep="\n")
        else:
            release.namespace.delete()


@asynccontextmanager
async def recording(release: Release) -> AsyncIterator[Recorder]:
    """A client with the connections of an ingress that gives up at its first answer: what has to be sent again has failed."""
    host, _, port = release.gateway_url.removeprefix("http://").rpartition(":")
    recorder = Recorder(release, give_up_after=0, transport=Ingress(Rotation([("gateway", int(port))]), host))
    try:
        yield recorder
    finally:
        await recorder.aclose()


async def judge(release: Release, recorder: Recorder, others: int = 0) -> None:
    """Waits for the end of all jobs, and fails where a promise was not kept. So many jobs were made by others than the recorder."""
    await recorder.all_finished(120)
    evidence = await collect(release, recorder)
    foreign = {job["id"] for job in evidence.jobs} - recorder.accepted.keys()
    assert len(foreign) == others, f"made by nobody: {foreign}"
    # I7 is about the keys that clients sent; those of others were not seen.
    violations = [one for one in check(evidence) if not (one.invariant == "I7" and set(one.jobs) <= foreign)]
    made = len(evidence.ledger["predictions"])
    print(f"{len(evidence.jobs)} jobs, {made} predictions, {len(violations)} violations", flush=True)
    assert not violations, "\n".join(map(str, violations))


off_the_loop = asyncio.to_thread
"""kubectl and Helm take seconds, in which the load has to go on."""
