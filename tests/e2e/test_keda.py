"""KEDA: as many generators as jobs wait and run, down to none, and no running job is disturbed, even while nobody counts."""

import asyncio
from collections.abc import Callable

import pytest

from chart.rendering import NEWEST
from e2e.cluster import run
from e2e.conftest import judge, off_the_loop, recording
from e2e.release import FULLNAME, Release
from waiting import until

pytestmark = pytest.mark.timeout(1200)

MOST = 4
PREDICT_SECONDS = 20
"""So long that generators are added and removed while predictions run."""

COOLDOWN_SECONDS = 5
OUTAGE_SECONDS = 5 * COOLDOWN_SECONDS
"""How long PostgreSQL is away."""


async def test_generators_come_with_the_jobs_and_go_with_them(new_release: Callable[[str, int], Release]) -> None:
    assert "external.metrics.k8s.io" in run("kubectl", "api-versions"), "KEDA does not run here: https://keda.sh/docs/latest/deploy"
    release = new_release("keda", NEWEST)
    keda = {
        "enabled": True,
        "minReplicas": 0,
        "maxReplicas": MOST,
        "jobsPerReplica": 10,
        "pollingInterval": 2,
        "cooldownPeriod": COOLDOWN_SECONDS,
        "scaleDownStabilizationSeconds": 5,
    }
    config = {"simulator": {"config": {"predictSeconds": PREDICT_SECONDS}}}
    await off_the_loop(lambda: release.install(generator={"keda": keda, "config": {"slots": 10}}, **config))
    seen: list[int] = []

    async def generators_are(wanted: int) -> bool:
        count = await off_the_loop(release.replicas, "generator")
        if seen[-1:] != [count]:
            seen.append(count)
            print(f"{count} generators", flush=True)
        return count == wanted

    async with recording(release) as recorder:
        await until(lambda: generators_are(0), 120, what="no generator in a quiet hour")
        ids = await recorder.post_many([f"picture {number}" for number in range(40)])
        await until(lambda: generators_are(MOST), 180, what=f"{MOST} generators")
        # Nobody can count jobs now, which is no reason to end those who work on them.
        await off_the_loop(release.kubectl, "scale", f"statefulset/{FULLNAME}-postgresql", "--replicas=0")
        for _ in range(OUTAGE_SECONDS):
            await asyncio.sleep(1)
            assert await generators_are(MOST)
        await off_the_loop(release.kubectl, "scale", f"statefulset/{FULLNAME}-postgresql", "--replicas=1")
        following = asyncio.create_task(recorder.all_finished(240))
        await until(lambda: generators_are(0), 300, what="no generator once all is done")
        await following
        assert [recorder.final[job_id] for job_id in ids] == ["completed"] * len(ids)
        assert seen[0] == 0 and seen[-1] == 0 and max(seen) == MOST, seen
        await judge(release, recorder)  # one prediction for each job
    await off_the_loop(release.uninstall)
    assert not release.namespace.left()
