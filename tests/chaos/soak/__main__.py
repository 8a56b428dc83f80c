"""python -m chaos.soak: one run on servers of its own; exit code 1 where it has shortcomings, 2 where a setting is wrong.

Interrupted it ends its servers, and its exit code is 130.
"""

import asyncio
import signal
import sys

import uvloop

from chaos.soak.expectations import shortcomings
from chaos.soak.report import report
from chaos.soak.run import Run, soak
from chaos.soak.settings import Settings
from chaos.soak.system import soaked_system
from history.checker import check
from history.verdict import verdict
from servers import new_session


def main() -> int:
    """Run it, print the report and keep what was asked for."""
    try:
        settings = Settings.read()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    session = new_session()
    try:
        with soaked_system(session, settings) as system, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            run = runner.run(soak(system, lambda line: print(line, flush=True)))
        failed = conclude(run)
        if failed:
            session.keep_logs()
        return int(failed)
    except KeyboardInterrupt:
        print("interrupted: all of it is ended, and nothing was decided", file=sys.stderr)
        return 130
    finally:
        session.end()


def conclude(run: Run) -> bool:
    """Print and keep the report; whether the run has shortcomings."""
    violations = check(run.evidence)
    found = list(shortcomings(run, violations))
    if run.settings.keep:
        run.evidence.save(run.settings.keep)
    text = "\n".join(report(run, violations, found)) + "\n"
    if run.settings.report:
        run.settings.report.write_text(text)
    print(text)
    if violations:
        print("\n".join(verdict(run.evidence, violations)))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
