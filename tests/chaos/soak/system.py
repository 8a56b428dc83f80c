"""The system that is soaked: every link goes through a proxy, and the simulator's faults can be put on and taken off one by one."""

import base64
import contextlib
import itertools
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from chaos.proxy import Proxy
from chaos.soak.settings import Settings
from servers import Servers
from stack import Stack

Rule = dict[str, Any]

WEBHOOK_SECRET = f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"
"""What the simulator signs webhooks with."""


class Soaked:
    """The running system, and what can be done to it."""

    def __init__(self, stack: Stack, links: dict[str, Proxy], settings: Settings) -> None:
        """`links` by name, such as `jobs → PostgreSQL`."""
        self.stack = stack
        self.links = links
        self.settings = settings
        self.replicate = ReplicateFaults(stack.simulator_url)

    @property
    def database(self) -> str:
        """The name of the database."""
        return urlsplit(self.stack.services.database_url).path.removeprefix("/")

    def heal_links(self) -> None:
        """Every link is as new: what is left of connections that a black hole swallowed is reset."""
        for link in self.links.values():
            link.heal()
            link.reset()


class ReplicateFaults:
    """The simulator's rules, put on and taken off one by one."""

    def __init__(self, url: str) -> None:
        """`url` is the simulator's."""
        self._url = f"{url}/control/faults"
        self._on: dict[int, list[Rule]] = {}
        self._numbers = itertools.count(1)

    @contextlib.asynccontextmanager
    async def on(self, *rules: Rule) -> Any:
        """These rules are in force while the context lasts, besides those of others."""
        number = next(self._numbers)
        self._on[number] = list(rules)
        await self._put()
        try:
            yield
        finally:
            del self._on[number]
            await self._put()

    async def _put(self) -> None:
        rules = [rule for on in self._on.values() for rule in on]
        async with httpx.AsyncClient(timeout=60) as http:
            (await http.put(self._url, json={"rules": rules})).raise_for_status()


@contextlib.contextmanager
def soaked_system(servers: Servers, settings: Settings) -> Iterator[Soaked]:
    """Starts the whole system on these servers; it ends with the context."""
    with contextlib.ExitStack() as stack:
        database_url = stack.enter_context(servers.database(servers.template))
        amqp_url = stack.enter_context(servers.vhost())
        bucket = servers.bucket()
        state = servers.state / f"stack-{len(list(servers.state.glob('stack-*'))) + 1}-soak"
        running: Stack
        targets = {
            "gateway → jobs": lambda: running.jobs_address,
            "generators → jobs": lambda: running.worker_address,
            "Replicate → gateway": lambda: running.gateway_url,
            "generators → Replicate": lambda: running.simulator_url,
            "jobs → PostgreSQL": lambda: database_url,
            "jobs → RabbitMQ": lambda: amqp_url,
            "generators → RabbitMQ": lambda: amqp_url,
            "generators → S3": lambda: servers.object_store.endpoint,
            "gateway → S3": lambda: servers.object_store.endpoint,
        }
        links = {name: stack.enter_context(Proxy(lambda target=target: _address(target()))) for name, target in targets.items()}
        through = {
            "GATEWAY_JOBS_ADDRESS": links["gateway → jobs"].address,
            "GENERATOR_JOBS_ADDRESS": links["generators → jobs"].address,
            "GENERATOR_REPLICATE_URL": f"http://{links['generators → Replicate'].address}",
            "JOBS_DATABASE_URL": _through(database_url, links["jobs → PostgreSQL"]),
            "JOBS_AMQP_URL": _through(amqp_url, links["jobs → RabbitMQ"]),
            "GENERATOR_AMQP_URL": _through(amqp_url, links["generators → RabbitMQ"]),
            "GENERATOR_S3_ENDPOINT": f"http://{links['generators → S3'].address}",
            "GATEWAY_S3_ENDPOINT": f"http://{links['gateway → S3'].address}",
        }
        if settings.webhooks:
            through["GENERATOR_WEBHOOK_URL"] = f"http://{links['Replicate → gateway'].address}"
            through["GATEWAY_REPLICATE_WEBHOOK_SECRET"] = WEBHOOK_SECRET
        running = Stack(state, servers, database_url, amqp_url, bucket, {**_times(settings), **through})
        stack.callback(running.stop)
        running.start(settings.generators)
        yield Soaked(running, links, settings)


def _times(settings: Settings) -> dict[str, str]:
    """The protocol's times, and predictions that are long enough to be interrupted."""
    times = {
        "JOBS_TIME_SCALE": str(settings.scale),
        "SIMULATOR_PREDICT_SECONDS": str(max(1.0, 6 * settings.scale)),
        "SIMULATOR_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "SIMULATOR_WEBHOOK_RETRY_SECONDS": str(60 * settings.scale),
    }
    if settings.scale < 1:  # the account's budget is a minute's, which no setting scales
        budget = ("JOBS_CREATES", "JOBS_READS", "SIMULATOR_CREATES", "SIMULATOR_READS")
        times |= {f"{name}_PER_MINUTE": "0" for name in budget}
    return times


def _address(url: str) -> tuple[str, int]:
    """Host and port of a URL, or of host:port."""
    host, _, port = (urlsplit(url).netloc or url).rpartition("@")[2].partition(":")
    return host, int(port)


def _through(url: str, link: Proxy) -> str:
    """The URL with the link's address in place of its own."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@{link.address}"))
