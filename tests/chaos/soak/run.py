"""One run: load and storm side by side, then rest, then the evidence."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from chaos.soak.load import TENANTS, Load
from chaos.soak.processes import started
from chaos.soak.settings import Settings
from chaos.soak.storm import Storm, Struck
from chaos.soak.system import Soaked
from history.collect import collect
from history.evidence import Evidence
from history.recorder import Recorder
from history.vitals import sample_database

PROGRESS_SECONDS = 10.0
SAMPLE_SECONDS = 10.0

WARM_UP = 30
"""Jobs before the storm, so that the first sample of a process is that of one at work, and RabbitMQ has its queues on disk."""

REST_SECONDS = 600.0
"""How long the last job may take, at any scale: retries, pauses of the account, creates to be looked up."""


@dataclass
class Run:
    """What a run brought."""

    settings: Settings
    evidence: Evidence
    struck: list[Struck]
    problems: list[str]
    """What went wrong besides the invariants: clients that gave up, processes that ended by themselves."""
    rest: float
    """Seconds from the end of the storm until every job was final."""


async def soak(system: Soaked, say: Callable[[str], None]) -> Run:
    """Runs it all on a system that has just started; `say` is told how it goes."""
    settings = system.settings
    recorder = Recorder(system.stack, give_up_after=REST_SECONDS)
    try:
        for tenant in TENANTS:
            await recorder.add_tenant(tenant)
        await recorder.post_many([f"a warm fox, number {number}" for number in range(WARM_UP)], parameters={"megapixels": "0.25"})
        await recorder.all_finished(120)
        recorder.vitals[:] = system.stack.vitals()
        storm, load, problems = Storm(system), Load(recorder, settings), []
        watching = asyncio.create_task(_watch(system, storm, recorder, load, problems, say))
        await asyncio.gather(storm.rage(settings.seconds), load.run(settings.seconds))
        system.heal_links()
        for name in ("postgresql", "rabbitmq", "s3", *system.stack.parts):
            await started(system, name)
        calm = time.monotonic()
        say("the storm is over; waiting until every job is final")
        try:
            await recorder.all_finished(REST_SECONDS)
        except Exception as error:
            problems.append(f"{type(error).__name__}: {error}")
        rest = time.monotonic() - calm
        watching.cancel()
        say("reading the evidence")
        evidence = await collect(system.stack, recorder)
    finally:
        await recorder.aclose()
    problems += load.problems + [f"{one.fault.name}: {one.problem}" for one in storm.struck if one.problem]
    return Run(settings, evidence, storm.struck, problems, rest)


async def _watch(
    system: Soaked, storm: Storm, recorder: Recorder, load: Load, problems: list[str], say: Callable[[str], None]
) -> None:
    """Samples vitals, tells progress, and starts again what ended by itself, which is a problem."""
    began = time.monotonic()
    while True:
        await asyncio.sleep(min(PROGRESS_SECONDS, SAMPLE_SECONDS))
        recorder.vitals += await asyncio.to_thread(system.stack.vitals)
        await _sample_sessions(system, recorder)
        broken = {name for one in storm.active for name in one.fault.occupies}
        for name, part in system.stack.parts.items():
            if name not in broken and part.pid() is None:
                problems.append(f"{name} ended by itself: {part.log_tail()[-500:]}")
                await started(system, name)
        minutes, seconds = divmod(int(time.monotonic() - began), 60)
        active = ", ".join(one.fault.name for one in storm.active) or "none"
        left = len(recorder.accepted) - len(recorder.final)
        say(
            f"{minutes:3d}:{seconds:02d}  posted {load.posted}, accepted {len(recorder.accepted)}, final {len(recorder.final)}, "
            f"open {left}; faults {len(storm.struck)}, now: {active}"
        )


async def _sample_sessions(system: Soaked, recorder: Recorder) -> None:
    try:
        connection = await asyncpg.connect(system.stack.services.database_url, timeout=2)
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return  # it is down just now
    try:
        recorder.vitals.append(await sample_database(connection))
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return
    finally:
        connection.terminate()
