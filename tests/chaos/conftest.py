"""Systems with a proxy on each link, and the recoveries that were measured on them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from chaos.experiment import Experiment, begin
from servers import Servers


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the longest of each kind of recovery that was measured."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    recoveries: dict[str, float] = {}
    for what, seconds in (one for report in reports if report.when == "call" for one in report.user_properties):
        recoveries[what] = max(seconds, recoveries.get(what, 0.0))
    if recoveries:
        terminalreporter.write_sep("-", "longest recoveries")
    for what, seconds in sorted(recoveries.items()):
        terminalreporter.write_line(f"{seconds:6.1f} s  {what}")


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[[str, float], None]:
    """Keeps how long a recovery took, as a property of its test; the longest of a kind is printed at the end."""

    def keep(what: str, seconds: float) -> None:
        request.node.user_properties.append((what, round(seconds, 2)))
        print(f"{seconds:6.1f} s  {what}", flush=True)

    return keep


@pytest_asyncio.fixture
async def start(
    request: pytest.FixtureRequest, servers: Servers, note: Callable[[str, float], None]
) -> AsyncIterator[Callable[..., Experiment]]:
    """Starts a system and returns the experiment on it; a test may start several.

    `start(generators=2, database_url=…, SETTING="…")`: the database is a fresh one, unless the test has its own.
    """
    async with AsyncExitStack() as kept:

        def start_one(generators: int = 2, database_url: str = "", **settings: str) -> Experiment:
            named = request.node.name
            return begin(kept, servers, named, note, generators=generators, database_url=database_url, **settings)

        yield start_one
