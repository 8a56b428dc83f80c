"""The load generator, a process of its own: `python -m bench.load`, with a Load as JSON on standard input.

It prints a line when its warm-up is over, one when its time is, and one with what it saw. It is a client of ours, on uvloop and
bare sockets, because wrk can neither post at a rate nor stamp a request. It takes some 20 µs of CPU a request, a fraction of what
any server takes that is measured here, and each line of the report says how busy it was. Its CPU counts for nobody.
"""

import asyncio
import itertools
import json
import os
import random
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import uvloop

from bench.wire import Connection, connect, requests

ANSWER_SECONDS = 30.0
"""How long the last answers may take once time is over."""


@dataclass(frozen=True)
class Load:
    """What to ask, how often and for how long."""

    port: int
    """Of a server on this machine."""
    paths: Sequence[str]
    """Asked for in turn."""
    method: str = "GET"
    keys: Sequence[str] = ()
    """API keys, shown in turn; none, where the server wants none."""
    body: str = ""
    clients: int = 64
    """Connections. Each asks again as soon as it has its answer, unless there is a rate."""
    rate: float = 0.0
    """Requests a second, at random times, whether or not earlier ones were answered; 0 leaves it to the answers."""
    seconds: float = 5.0
    warm_up: float = 1.0
    """Seconds before that in which nothing counts."""
    seed: int = 1
    """Of the times."""
    further_ports: Sequence[int] = ()
    """Of further servers of the same: connections are made to all of them in turn."""


@dataclass
class Seen:
    """What a generator saw."""

    latencies: list[float] = field(default_factory=list)
    """Seconds of each answer within the time, from when the request was due."""
    late: list[float] = field(default_factory=list)
    """How many seconds after it was due each request was sent: the generator's own slowness."""
    statuses: Counter[int] = field(default_factory=Counter)
    """Of all answers, the warm-up's included."""

    def summary(self, seconds: float, busy: float) -> dict[str, Any]:
        """As the report has it: milliseconds, and the share of one core that the generator took."""
        return {
            "event": "seen",
            "answers": len(self.latencies),
            "seconds": seconds,
            "latency": percentiles(self.latencies),
            "late_p99": percentiles(self.late).get("p99", 0.0),
            "statuses": dict(self.statuses),
            "client": busy,
        }


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """In milliseconds."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    return {f"p{percent}": ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000 for percent in (50, 90, 99)}


class Generator:
    """Asks as a Load says."""

    def __init__(self, load: Load) -> None:
        """Connects later."""
        self._load = load
        self._requests = requests(load.method, load.paths, load.keys, load.body)
        self._next = 0
        self._idle: list[Connection] = []
        self._due: deque[float] = deque()
        self._under_way = 0
        self._counts = self._over = False
        self._all_answered = asyncio.Event()
        self.seen = Seen()

    async def run(self) -> None:
        """Warms up, counts, and waits for the last answers."""
        load = self._load
        ports = itertools.cycle((load.port, *load.further_ports))
        self._idle = [await connect(next(ports), self._answered) for _ in range(load.clients)]
        asking = asyncio.create_task(self._at_a_rate()) if load.rate else None
        while not load.rate and self._idle:
            self._ask(self._idle.pop())
        await asyncio.sleep(load.warm_up)
        began, cpu = time.perf_counter(), time.process_time()
        _tell({"event": "begin"})
        self._counts = True
        await asyncio.sleep(load.seconds)
        self._counts, self._over = False, True
        seconds, busy = time.perf_counter() - began, time.process_time() - cpu
        _tell({"event": "end"})
        if asking is not None:
            asking.cancel()
        async with asyncio.timeout(ANSWER_SECONDS):
            while self._under_way:
                self._all_answered.clear()
                await self._all_answered.wait()
        _tell(self.seen.summary(seconds, busy / seconds))

    async def _at_a_rate(self) -> None:
        draw = random.Random(self._load.seed)
        due = time.perf_counter()
        while True:
            due += draw.expovariate(self._load.rate)
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            if self._counts:
                self.seen.late.append(max(0.0, time.perf_counter() - due))
            if self._idle:
                self._ask(self._idle.pop())
            else:
                self._due.append(due)

    def _ask(self, connection: Connection, due: float | None = None) -> None:
        """`due` is when a request should have been sent that had to wait for a connection."""
        waited = 0.0 if due is None else time.perf_counter() - due
        self._under_way += 1
        connection.ask(self._requests[self._next].at(time.time() - waited))
        connection.asked_at -= waited
        self._next = (self._next + 1) % len(self._requests)

    def _answered(self, connection: Connection, status: int, _: bytes) -> None:
        self._under_way -= 1
        self.seen.statuses[status] += 1
        if self._counts and 200 <= status < 300:
            self.seen.latencies.append(time.perf_counter() - connection.asked_at)
        if self._over or not status:
            self._all_answered.set()
        elif not self._load.rate:
            self._ask(connection)
        elif self._due:
            self._ask(connection, self._due.popleft())
        else:
            self._idle.append(connection)


def _tell(event: dict[str, Any]) -> None:
    print(json.dumps(event), flush=True)


def same_imports() -> dict[str, str]:
    """The environment of a child that imports what this process imports, which pytest may have arranged without a variable."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


async def loaded(load: Load) -> AsyncIterator[tuple[dict[str, Any], int]]:
    """Runs a load generator; yields what it prints, and its process id. Raises RuntimeError where an answer was not a good one."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.load"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=same_imports(),
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(asdict(load)).encode() + b"\n")
        await process.stdin.drain()
        seen: dict[str, Any] = {}
        async for line in process.stdout:
            seen = json.loads(line)
            yield seen, process.pid
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    bad = {status: count for status, count in seen.get("statuses", {"0": 1}).items() if not 200 <= int(status) < 300}
    if bad:
        raise RuntimeError(f"the load generator got other answers than 2xx: {bad} (status 0: connection lost)")


if __name__ == "__main__":
    uvloop.run(Generator(Load(**json.loads(sys.stdin.readline()))).run())
