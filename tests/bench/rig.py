"""Everything that a run measures, started when a row first asks for it, on durable servers of its own."""

import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from bench.meter import Meter
from bench.ours import SETTINGS, Ours
from bench.rivals import DESIGNS, Design, Peer, Redis, python_of_peers
from bench.settings import Settings
from part import Part
from servers import Servers
from stack import Stack

TESTS = Path(__file__).resolve().parents[1]


def missing(settings: Settings) -> str | None:
    """What a run needs that this machine lacks, as the line that says how to have it."""
    if "first_design" in settings.peers and shutil.which("redis-server") is None:
        return "the first design needs Redis: apt-get install --no-install-recommends redis-server, or PEERS=0"
    return None


class Rig:
    """The servers, mediagen and the peers of one run."""

    def __init__(self, servers: Servers, ours: Ours, databases: ExitStack, things: AsyncExitStack) -> None:
        """What is begun later ends with the last two: processes with `things`, and with `databases` what they leave behind."""
        self.servers = servers
        self.ours = ours
        self.meter = Meter(self.processes)
        self.others: dict[str, int] = {}
        """Further processes of a row's own, by name."""
        self._things = things
        self._peers: dict[str, list[Peer]] = {}
        self._started_redis: Redis | None = None
        self._databases = databases
        self._state = servers.state / "stack-2-peers"

    def processes(self) -> Mapping[str, int]:
        """The root of each process tree that runs, by name."""
        parts: dict[str, Part] = {
            **{"postgresql": self.servers.postgresql, "rabbitmq": self.servers.rabbitmq, "s3": self.servers.object_store},
            **self.ours.stack.parts,
            **({"redis": self._started_redis} if self._started_redis else {}),
            **{name: part for peers in self._peers.values() for peer in peers for name, part in peer.parts().items()},
        }
        return {name: pid for name, part in parts.items() if (pid := part.pid()) is not None} | self.others

    async def peers(self, name: str) -> list[Peer]:
        """The forms of one of the setting's PEERS, with their APIs running."""
        if name not in self._peers:
            python_of_peers()
            self._peers[name] = []
            for number, design in enumerate(DESIGNS[name]):
                self._peers[name].append(await self._begin(design, number))
        return self._peers[name]

    async def _begin(self, design: Design, number: int) -> Peer:
        database_url = self._databases.enter_context(self.servers.database("template1"))
        broker_url, forget = "", lambda: None
        if design.broker == "rabbitmq":
            broker_url = self._databases.enter_context(self.servers.vhost())
        elif design.broker == "redis":
            redis = self._redis()
            broker_url, forget = f"redis://127.0.0.1:{redis.port}/{number}", partial(redis.forget_all, number)
        peer = Peer(design, self._state, database_url, broker_url, forget)
        self._things.push_async_callback(peer.close)
        await peer.open()
        return peer

    def _redis(self) -> Redis:
        if self._started_redis is None:
            self._started_redis = Redis(self._state)
            self._started_redis.start()
            self._things.callback(self._started_redis.stop)
            self._started_redis.wait()
        return self._started_redis


@asynccontextmanager
async def rig(servers: Servers) -> AsyncIterator[Rig]:
    """mediagen without generators, on these servers."""
    with ExitStack() as databases:
        async with AsyncExitStack() as things:
            database_url = databases.enter_context(servers.database(servers.template))
            amqp_url = databases.enter_context(servers.vhost())
            stack = Stack(servers.state / "stack-1-bench", servers, database_url, amqp_url, servers.bucket(), SETTINGS)
            things.callback(stack.stop)
            stack.start(0)
            ours = Ours(stack, TESTS)
            await ours.open()
            things.push_async_callback(ours.close)
            yield Rig(servers, ours, databases, things)
