"""What a process tells of itself."""

import asyncio
import time
import tomllib

from prometheus_client import REGISTRY

from chassis import vitals
from chassis.version import VERSION
from services import ROOT
from waiting import until


def lags_above(seconds: str) -> float:
    """How often the loop was later than that."""
    name = "mediagen_event_loop_lag_seconds"
    every = REGISTRY.get_sample_value(f"{name}_count") or 0
    return every - (REGISTRY.get_sample_value(f"{name}_bucket", {"le": seconds}) or 0)


def test_the_version_is_that_of_the_project():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION
    vitals.tell_version("tester")
    assert REGISTRY.get_sample_value("mediagen_build_info", {"component": "tester", "version": VERSION}) == 1


async def test_a_loop_that_is_held_up_is_seen_to_be_late(monkeypatch):
    monkeypatch.setattr(vitals, "LOOK_SECONDS", 0.01)
    before = lags_above("0.25")
    watch = asyncio.create_task(vitals.watch_loop())

    def held_up() -> bool:
        time.sleep(0.4)
        return lags_above("0.25") > before

    try:
        await until(held_up)
    finally:
        watch.cancel()
