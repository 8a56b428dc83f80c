"""The corpus of hostile URLs, and a network that shows whom a download really talks to."""

import asyncio
import contextlib
import ipaddress
import socket
import tomllib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp.connector
import pytest
from aiohttp.abc import ResolveResult

CORPUS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())

CANARY = "127.0.0.2"
"""An address of this machine that no list names."""

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(1000)


class Hostile(NamedTuple):
    """One URL of the corpus, with its ports still open."""

    url: str
    fate: str
    text: bool
    resolves: bool
    """Whether its host is listed, so that only the addresses behind its name tell."""


HOSTILE = [
    Hostile(url, group["fate"], group.get("text", False), group.get("resolves", False))
    for group in CORPUS["group"]
    for url in group["urls"]
]


@dataclass
class Network:
    """Listeners on this machine, one of them listed; what was looked up, and which addresses a connection was asked for to."""

    listed: int = 0
    """The port of the listed file server on 127.0.0.1."""
    canary: int = 0
    """A port where only canaries are."""
    location: bytes = b""
    """Where the file server redirects to, as the bytes that are sent; where it is empty, it serves a picture."""
    served: int = 0
    """How many requests the listed file server had."""
    alarms: list[str] = field(default_factory=list)
    """Connections that canaries got."""
    attempts: list[tuple[str, int]] = field(default_factory=list)
    """Every address that a connection was tried to, whether or not it exists."""
    looked_up: list[str] = field(default_factory=list)
    """Every name that was resolved."""
    _answers: dict[str, list[list[str]]] = field(default_factory=dict)

    def url(self, template: str) -> str:
        """A URL of the corpus with the ports of this network."""
        return template.replace("{listed}", str(self.listed)).replace("{canary}", str(self.canary))

    def strangers(self) -> list[tuple[str, int]]:
        """The attempts that did not go to the listed file server."""
        return [attempt for attempt in self.attempts if attempt != ("127.0.0.1", self.listed)]

    def forget(self) -> None:
        """Before another URL: names lead where they led at first."""
        self.location, self.served = b"", 0
        self.alarms, self.attempts, self.looked_up, self._answers = [], [], [], {}

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_UNSPEC) -> list[ResolveResult]:
        """In the place of the resolver's own: [names] for what is below a listed suffix, the canary for everything else."""
        self.looked_up.append(host)
        label = host.lower().rstrip(".").removesuffix(".suffix.test").removesuffix(".replicate.delivery").rpartition(".")[2]
        answers = self._answers.setdefault(label, [list(answer) for answer in CORPUS["names"].get(label, [[CANARY]])])
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=_family(address), proto=0, flags=0)
            for address in addresses
        ]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The listed file server, which sends any bytes for a Location."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            self.served += 1
            if self.location:
                writer.write(
                    b"HTTP/1.1 302 Found\r\nLocation: " + self.location + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(PICTURE) + PICTURE)
            await writer.drain()
        writer.close()

    async def alarm(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A canary."""
        self.alarms.append(str(writer.get_extra_info("sockname")))
        writer.close()


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ipaddress.ip_address(address.partition("%")[0]).version == 6 else socket.AF_INET


@contextlib.asynccontextmanager
async def network(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Network]:
    """The network while the context lasts: aiohttp resolves in it, and connects to this machine only."""
    made = Network()
    connect = aiohttp.connector.aiohappyeyeballs.start_connection

    async def start_connection(addr_infos: Sequence[Any], **options: Any) -> socket.socket:
        made.attempts += [info[4][:2] for info in addr_infos]
        if not all(ipaddress.ip_address(info[4][0].partition("%")[0]).is_loopback for info in addr_infos):
            raise OSError("this test leads nowhere but to this machine")
        return await connect(addr_infos, **options)

    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", start_connection)
    monkeypatch.setattr("aiohttp.ThreadedResolver.resolve", lambda _, *where: made.resolve(*where))
    async with contextlib.AsyncExitStack() as stack:

        async def listen(handler: Any, host: str, port: int) -> int:
            server = await asyncio.start_server(handler, host, port)
            stack.push_async_callback(server.wait_closed)
            stack.callback(server.close)
            return int(server.sockets[0].getsockname()[1])

        made.listed = await listen(made.serve, "127.0.0.1", 0)
        made.canary = await listen(made.alarm, "127.0.0.1", 0)
        for host in (CANARY, "::1"):
            with contextlib.suppress(OSError):  # a machine without IPv6
                await listen(made.alarm, host, made.canary)
                await listen(made.alarm, host, made.listed)
        yield made
