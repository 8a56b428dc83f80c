"""What stands before several instances in a cluster, as small as it can be: a Service for gRPC, an ingress for REST.

Both know which instances are in. One is taken out before it is asked to end, as Kubernetes removes a terminating pod from its
endpoints while the pod's preStop pause runs; it is put in again once it is ready.
"""

import asyncio
import contextlib
from collections.abc import Iterable

import aiohttp
import httpx


class Rotation:
    """The instances that are in, by name, each with its port on the loopback interface; taken in turn."""

    def __init__(self, ports: Iterable[tuple[str, int]]) -> None:
        """All of them are in."""
        self._ports = dict(ports)
        self._in = list(self._ports)

    def take_out(self, name: str) -> None:
        """Nothing new goes there; what is open stays open."""
        self._in.remove(name)

    def put_in(self, name: str) -> None:
        """It has its turn again."""
        self._in.append(name)

    def next_port(self) -> int:
        """Whose turn it is. Raises ConnectionRefusedError where none is in."""
        if not self._in:
            raise ConnectionRefusedError("no instance is in")
        self._in.append(name := self._in.pop(0))
        return self._ports[name]


class Service:
    """A port whose every new connection goes to the next instance and stays with it, as behind the address of a Service."""

    def __init__(self, port: int, instances: Rotation) -> None:
        """Nothing listens before `start`."""
        self._port = port
        self._instances = instances
        self._open: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listens."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self._port)

    async def aclose(self) -> None:
        """Ends every connection."""
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with contextlib.suppress(OSError):
                there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._instances.next_port())
                await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))
        finally:
            writer.close()
            self._open.discard(task)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Passes on what comes, and the end of it."""
    try:
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
    finally:
        sink.close()


class Ingress(httpx.AsyncBaseTransport):
    """Sends each request to the next gateway over connections that it keeps, as an ingress does.

    aiohttp carries them, at a fifth of what httpx itself would cost. As ingresses do, it sends a read again whose kept connection
    turns out to be closed, and nothing else.
    """

    def __init__(self, gateways: Rotation, host: str = "127.0.0.1") -> None:
        """Makes its connections when they are needed; all gateways are reached at the one host."""
        self._gateways = gateways
        self._host = host
        self._http = aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=30))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends it. Raises httpx.TransportError where no answer came."""
        url = str(request.url.copy_with(host=self._host, port=self._gateways.next_port()))
        body = await request.aread() or None
        try:
            async with self._http.request(request.method, url, data=body, headers=request.headers.multi_items()) as answer:
                return httpx.Response(answer.status, headers=list(answer.headers.items()), content=await answer.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise httpx.TransportError(f"{type(error).__name__}: {error}") from error

    async def aclose(self) -> None:
        """Closes what is kept."""
        await self._http.close()
