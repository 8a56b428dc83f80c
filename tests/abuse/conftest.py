"""The whole system, once for each module that abuses it."""

from collections.abc import Iterator

import pytest

from servers import Servers
from stack import Stack

WEBHOOK_SECRET = "whsec_" + "YWJ1c2U" * 4
"""What the gateway believes webhooks by."""

SETTINGS = {
    "GATEWAY_REPLICATE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    "SIMULATOR_PREDICT_SECONDS": "0.3",
    "SIMULATOR_QUEUE_SECONDS": "0",
    "SIMULATOR_CREATES_PER_MINUTE": "0",
    "SIMULATOR_READS_PER_MINUTE": "0",
    "JOBS_TIME_SCALE": "0.1",
}


@pytest.fixture(scope="module")
def system(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Stack]:
    """Simulator, jobs, one generator and gateway, with short times."""
    state = servers.state / f"stack-{request.module.__name__.replace('.', '-')}"
    with servers.database(servers.template) as database_url, servers.vhost() as amqp_url:
        stack = Stack(state, servers, database_url, amqp_url, servers.bucket(), SETTINGS)
        try:
            stack.start(1)
            yield stack
        finally:
            stack.stop()
