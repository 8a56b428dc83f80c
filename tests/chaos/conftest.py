"""Systems with a proxy on each link, and the recoveries that were measured on them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, closing

import pytest
import pytest_asyncio

from chaos.experiment import FAST, Experiment
from chaos.links import Links
from servers import Servers
from stack import Stack


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

        def begin(generators: int = 2, database_url: str = "", **settings: str) -> Experiment:
            database_url = database_url or kept.enter_context(servers.database(servers.template))
            amqp_url, bucket = kept.enter_context(servers.vhost()), servers.bucket()
            links = kept.enter_context(closing(Links(database_url, amqp_url, bucket.endpoint)))
            state = servers.state / f"stack-{len(list(servers.state.glob('stack-*'))) + 1}-{request.node.name[:40]}"
            stack = Stack(state, servers, database_url, amqp_url, bucket, {**links.settings(), **FAST, **settings})
            links.stack = stack
            kept.callback(stack.stop)
            kept.callback(links.heal)
            stack.start(generators)
            experiment = Experiment(stack, links, note)
            kept.push_async_callback(experiment.recorder.aclose)
            return experiment

        yield begin
