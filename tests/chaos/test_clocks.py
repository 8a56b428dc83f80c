"""Clocks that are an hour off, both ways: nothing that mediagen decides hangs on the clock of a worker."""

import httpx
import pytest

import packages
from chaos.experiment import Experiment
from stack import Stack


def set_clock(stack: Stack, name: str, offset: str) -> None:
    """Starts a part again with a wall clock that is off; what measures spans of time stays right."""
    stack.stop(name)
    stack.parts[name].environment |= {
        "LD_PRELOAD": str(packages.libfaketime()),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
    }
    stack.start_part(name)


@pytest.mark.parametrize("offset", ["+61m", "-61m"])
async def test_with_clocks_an_hour_off_jobs_are_made_and_their_media_is_served(start, offset):
    experiment: Experiment = start(generators=1)
    for name in ("generator-1", "gateway", "jobs"):
        set_clock(experiment.stack, name, offset)
    first = (await experiment.post(10, "an hour off"))[0]
    await experiment.faults({"effect": "create_reset", "accepted": True, "times": 1})
    await experiment.completes("lost and found by Replicate's time", within=60)
    await experiment.completed(list(experiment.recorder.accepted), within=30)
    view = await experiment.recorder.job(first)
    async with httpx.AsyncClient(timeout=30) as http:
        assert (await http.get(view["media_url"])).status_code == 200
    await experiment.all_is_well()
