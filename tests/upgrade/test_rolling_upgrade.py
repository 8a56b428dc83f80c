"""The version before this one and this one side by side: an upgrade, and the way back, fail no request."""

import asyncio
from pathlib import Path

import pytest

from services import ROOT
from upgrade.conftest import StartFleet
from upgrade.fleet import GATEWAYS, GENERATORS, JOBS
from upgrade.load import Load

pytestmark = [pytest.mark.alone, pytest.mark.timeout(900)]

MIXED_SECONDS = 2.0
"""How long each mix of versions is under load at least, besides the time that it takes to replace the next instance."""


async def test_an_upgrade_and_the_way_back_fail_no_request(previous: Path, start_fleet: StartFleet):
    """docs/upgrades.md, step by step. On the way back jobs goes first, against the rule: so every mix of two versions is met."""
    fleet = await start_fleet(source=previous)
    load, services = Load(fleet.recorder), fleet.stack.services
    async with load.running():
        services.source = ROOT
        await asyncio.to_thread(services.migrate)
        await asyncio.sleep(MIXED_SECONDS)
        await fleet.completes("the old version on the new schema")
        load.check_answers("the old version ran on the new schema")
        for name, version in (("new", ROOT), ("old", previous)):
            await fleet.roll(*JOBS, source=version)
            await asyncio.sleep(MIXED_SECONDS)
            await fleet.completes(f"both jobs are {name}, and everything else is not")
            load.check_answers(f"both jobs were {name}, and everything else was not")
            await fleet.roll(*GENERATORS, source=version)
            await fleet.completes(f"jobs and generators are {name}, and the gateways are not")
            await fleet.roll(*GATEWAYS, source=version)
            load.check_answers(f"everything was {name}")
    print(load.summary())
    load.check()
    await fleet.check_history()
