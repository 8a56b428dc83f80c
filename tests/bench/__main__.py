"""python -m bench: measures, prints the tables and writes the report; exit code 2 where a setting is wrong or something is missing.

A row that fails is told of, the others go on, and the exit code is 1. Interrupted it ends its servers and reports what it has.
"""

import asyncio
import json
import platform
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime

import psutil
import uvloop
from rich.console import Console

from bench.accepting import row_a, row_e, row_j
from bench.completing import row_b, row_c, row_f, row_i
from bench.growth import row_k
from bench.lasting import row_l
from bench.limits import row_limits
from bench.media import row_h
from bench.queries import row_q
from bench.rig import missing, rig
from bench.run import Run
from bench.scaling import FEW_WAITING, row_d, row_g
from bench.settings import Settings
from bench.table import show
from bench.verdicts import verdicts
from part import PartFailed
from progress import StepFailed
from servers import Servers, new_session

Row = Callable[[Run], Awaitable[None]]
ROWS: dict[str, Row] = {
    "limits": row_limits,
    **{"a": row_a, "b": row_b, "c": row_c, "d": row_d, "e": row_e, "f": row_f, "g": row_g, "h": row_h, "i": row_i, "j": row_j},
    **{"k": row_k, "l": row_l, "q": row_q},
}


def main() -> int:
    """Runs it all on servers of its own."""
    try:
        settings = Settings.read()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if lacking := missing(settings):
        print(lacking, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    session = new_session(durable=True)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(measure(settings, session))
    except (StepFailed, PartFailed) as failure:
        print(failure, file=sys.stderr)
        session.keep_logs()
        return 1
    except KeyboardInterrupt:
        print("interrupted: all of it is ended, and nothing was written", file=sys.stderr)
        return 130
    finally:
        session.end()


async def measure(settings: Settings, session: Servers) -> int:
    """The rows, one after the other; then the report."""
    progress, began = Console(stderr=True), time.monotonic()

    def say(line: str) -> None:
        progress.print(f"{time.monotonic() - began:5.0f} s  {line}", highlight=False, markup=False, soft_wrap=True)

    say("starting PostgreSQL, RabbitMQ, S3 and mediagen")
    async with rig(session) as running:
        run = Run(settings, running, say)
        try:
            for name in settings.rows:
                try:
                    await ROWS[name](run)
                except Exception as error:
                    run.fail(f"row {name}: {type(error).__name__}: {error}")
        except asyncio.CancelledError:
            run.failed.append("interrupted: this is what was measured until then")
        machine = await machine_of(run)
    judged = list(verdicts(run.book, settings.in_flight, settings.waiting, FEW_WAITING))
    show(Console(width=200 if not sys.stdout.isatty() else None), run.book, judged)
    if settings.report:
        report = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine,
            "settings": asdict(settings),
            "lines": run.book.as_json(),
            "targets": [{**asdict(one), "verdict": one.word} for one in judged],
            "failed": run.failed,
        }
        settings.report.write_text(json.dumps(report, indent=1, default=str) + "\n")
        print(f"the report is in {settings.report}")
    for line in run.failed:
        print(line, file=sys.stderr)
    if run.failed:
        session.keep_logs()
    return int(bool(run.failed))


async def machine_of(run: Run) -> dict[str, object]:
    """What the figures are of."""
    version = await run.rig.ours.connection.fetchval("SHOW server_version")
    settings = {name: await run.rig.ours.connection.fetchval(f"SHOW {name}") for name in ("fsync", "synchronous_commit")}
    return {
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "postgresql": version,
        **settings,
        "rabbitmq": run.rig.ours.stack.rabbitmqctl("version").strip(),
    }


if __name__ == "__main__":
    sys.exit(main())
