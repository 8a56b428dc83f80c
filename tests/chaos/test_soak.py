"""Two minutes of the soak with the protocol's times scaled down; `make chaos` runs it with the real ones, and for longer."""

import dataclasses

import pytest

from chaos.soak.expectations import shortcomings
from chaos.soak.report import report
from chaos.soak.run import soak
from chaos.soak.settings import Settings
from chaos.soak.system import soaked_system
from history.checker import check

pytestmark = pytest.mark.alone

BRIEF = Settings(minutes=2, jobs_per_second=3, scale=0.1, seed=4)


@pytest.mark.timeout(900)
async def test_no_promise_is_broken_under_random_overlapping_faults(servers, tmp_path):
    with soaked_system(servers, dataclasses.replace(BRIEF, keep=tmp_path)) as system:
        run = await soak(system, print)
    violations = check(run.evidence)
    found = list(shortcomings(run, violations))
    print("\n".join(report(run, violations, found)))
    assert found == []
    assert len(run.evidence.jobs) > 100
    assert len(run.struck) > 10
