"""One release, from its installation into a namespace with the strictest pod security to its removal: what people do with it.

The tests build on each other, in their order; the last ones judge the history of all of them, and remove the release.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
import pytest_asyncio

from chart.rendering import NEWEST, RELEASE
from e2e.conftest import judge, off_the_loop, recording
from e2e.release import FULLNAME, SERVICES, STORES, Release
from history.collect import ledger
from history.recorder import Recorder
from mediagen.jobs.v1 import jobs_pb2, jobs_pb2_grpc
from upgrade.load import Load
from waiting import until

pytestmark = [pytest.mark.timeout(1200), pytest.mark.asyncio(loop_scope="module")]

RATE = 100
"""Requests a second while things are replaced."""

SLOTS = 5
"""Jobs that a generator works on at once, so few that generators are what limits the release."""


@pytest.fixture(scope="module")
def release(new_release: Callable[[str, int], Release]) -> Release:
    """Installed by the newest Helm."""
    release = new_release("release", NEWEST)
    release.install(generator={"config": {"slots": SLOTS}})
    return release


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def recorder(release: Release) -> AsyncIterator[Recorder]:
    async with recording(release) as recorder:
        yield recorder


def completed(view: dict[str, object]) -> bool:
    return view["status"] == "completed"


async def finished(recorder: Recorder, ids: list[str], seconds: float) -> None:
    for job_id in ids:
        view = await recorder.until(job_id, lambda view: view["status"] in ("completed", "failed"), seconds)
        assert view["status"] == "completed", view


async def test_a_job_gets_to_its_picture_by_rest(recorder: Recorder) -> None:
    job_id = await recorder.post("a lighthouse at dusk")
    await recorder.until(job_id, completed)
    assert (await recorder.media(job_id, 0))["status"] == 200


async def test_a_job_gets_to_its_end_by_grpc(release: Release, recorder: Recorder) -> None:
    async with grpc.aio.insecure_channel(release.jobs_address) as channel:
        stub = jobs_pb2_grpc.JobsServiceStub(channel)
        metadata = [("authorization", f"Bearer {release.api_key}")]
        made = await stub.CreateJob(jobs_pb2.CreateJobRequest(job=jobs_pb2.JobSpec(prompt="by gRPC")), metadata=metadata)
        async for answer in stub.WatchJob(jobs_pb2.WatchJobRequest(job_id=made.job.id), metadata=metadata):
            job = answer.job
    assert (job.status, len(job.outputs)) == (jobs_pb2.JOB_STATUS_COMPLETED, 1)


async def test_helm_test_passes(release: Release) -> None:
    said = await off_the_loop(release.helm, "test", RELEASE, "--timeout=3m")
    assert "Succeeded" in said


async def test_generators_scale_from_1_to_4_to_2_under_load_and_the_work_with_them(release: Release, recorder: Recorder) -> None:
    """More predictions live at once the more generators there are; nothing is made twice when two generators leave."""
    most = await predictions_at_once(release, recorder, "one generator", 1)
    assert most == SLOTS
    await off_the_loop(release.scale, "generator", 4)
    most = await predictions_at_once(release, recorder, "four generators", 4)
    assert most > 2 * SLOTS  # more than two could have had
    ids = await recorder.post_many([f"while two of them leave {number}" for number in range(60)])
    await off_the_loop(release.scale, "generator", 2)
    await finished(recorder, ids, 90)


async def predictions_at_once(release: Release, recorder: Recorder, what: str, generators: int) -> int:
    """Posts much work and returns how many predictions lived at once at most, by the simulator's ledger; prints the rate."""
    prompts = [f"{what} {number}" for number in range(generators * SLOTS * 8)]
    began = asyncio.get_running_loop().time()
    ids = await recorder.post_many(prompts)
    await finished(recorder, ids, 120)
    seconds = asyncio.get_running_loop().time() - began
    print(f"{what}: {len(ids)} jobs of a second each in {seconds:.1f} s, {len(ids) / seconds:.1f} a second", flush=True)
    moments: list[tuple[str, int]] = []
    for prediction in (await ledger(release))["predictions"]:
        if prediction["prompt"] in prompts:
            moments += [(prediction["created_at"], 1), (prediction["completed_at"], -1)]
    alive = most = 0
    for _, change in sorted(moments):
        alive += change
        most = max(most, alive)
    return most


async def test_a_new_pod_of_jobs_gets_its_share_of_the_calls(release: Release, recorder: Recorder) -> None:
    await off_the_loop(release.scale, "jobs", 3)

    def calls() -> list[float]:
        counts = []
        for pod in release.names("jobs"):
            told = release.metrics(pod)
            started = re.findall(r"^grpc_server_started_total\{[^}]*[.]JobsService[^}]*\} (\S+)$", told, re.MULTILINE)
            counts.append(sum(map(float, started)))
        return counts

    async with Load(recorder, RATE).running():

        async def each_was_asked() -> bool:
            before = await off_the_loop(calls)
            await asyncio.sleep(2)
            after = await off_the_loop(calls)
            return len(before) == len(after) == 3 and all(now > then for then, now in zip(before, after, strict=True))

        await until(each_was_asked, 90, what="all three pods of jobs are asked")
    await off_the_loop(release.scale, "jobs", 2)


async def test_every_deployment_is_replaced_under_load_and_no_request_fails(release: Release, recorder: Recorder) -> None:
    load = Load(recorder, RATE)
    async with load.running():
        for service in SERVICES:
            await off_the_loop(release.roll, service)
            load.check_answers(f"{service} was replaced")
    print(load.summary(), flush=True)
    load.check_answers()


async def test_a_drained_node_fails_no_request(release: Release, recorder: Recorder) -> None:
    """The disruption budgets keep some of each service at work; what is lost or repeated, the history at the end tells."""
    load = Load(recorder, RATE)
    async with load.running():
        drained = await off_the_loop(release.drain)
        for service in SERVICES:
            await off_the_loop(release.rolled_out, service)
        load.check_answers("the node was drained")
    print(load.summary(), flush=True)
    load.check_answers()
    assert not drained & {name for service in SERVICES for name in release.names(service)}


async def test_a_generator_killed_amid_a_prediction_leaves_it_to_another(release: Release, recorder: Recorder) -> None:
    """It is the same prediction that is completed: the job costs one, which `judge` counts."""
    ids = await recorder.post_many([f"its generator dies {number}" for number in range(4 * SLOTS)])
    for pod in await off_the_loop(release.names, "generator"):
        await off_the_loop(release.kubectl, "delete", "pod", pod, "--grace-period=0", "--force")
    await off_the_loop(release.rolled_out, "generator")
    await finished(recorder, ids, 120)


@asynccontextmanager
async def patience(release: Release, recorder: Recorder) -> AsyncIterator[Recorder]:
    """A client that repeats what had no answer; what it was told counts as what `recorder` was told."""
    patient = Recorder(release)
    try:
        yield patient
    finally:
        recorder.told += patient.told
        recorder.accepted |= patient.accepted
        recorder.final |= patient.final
        await patient.aclose()


@pytest.mark.parametrize("component", ["gateway", "jobs"])
async def test_pods_deleted_without_grace_cost_no_job(release: Release, recorder: Recorder, component: str) -> None:
    """Clients that repeat what had no answer, as the API guide says, notice no more than a pause."""
    async with patience(release, recorder) as patient:
        posting = asyncio.create_task(patient.post_many([f"{component} dies {number}" for number in range(40)]))
        for pod in await off_the_loop(release.names, component):
            await off_the_loop(release.kubectl, "delete", "pod", pod, "--grace-period=0", "--force")
        await posting
        await off_the_loop(release.rolled_out, component)
        await patient.all_finished(120)
        assert set(patient.final.values()) == {"completed"}


@pytest.mark.parametrize("store", STORES)
async def test_a_store_that_restarts_costs_no_job(release: Release, recorder: Recorder, store: str) -> None:
    async with patience(release, recorder) as patient:
        posting = asyncio.create_task(patient.post_many([f"{store} restarts {number}" for number in range(40)]))
        await off_the_loop(release.roll, store)
        await posting
        await patient.all_finished(180)
        assert set(patient.final.values()) == {"completed"}


async def test_the_history_of_all_that_keeps_every_promise(release: Release, recorder: Recorder) -> None:
    await judge(release, recorder, others=2)  # by gRPC and of `helm test`


async def test_nothing_is_left_when_it_is_uninstalled(release: Release) -> None:
    await off_the_loop(release.uninstall)
    left = await off_the_loop(release.namespace.left)
    assert not left, f"left: {left}"
    of_the_cluster = await off_the_loop(
        release.kubectl, "get", "clusterroles,clusterrolebindings,persistentvolumes", "--output=name"
    )
    assert FULLNAME not in of_the_cluster
