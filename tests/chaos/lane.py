"""A whole system on which failpoints strike: in its gateway and its jobs one at a time, in generators beside others that go on."""

import asyncio
import signal
import time
from contextlib import suppress
from typing import Any

import asyncpg
import orjson
import psutil

import processes
from chassis.failpoints import VARIABLE
from client import Client
from history.recorder import NotAccepted, Recorder
from stack import Stack
from waiting import until

POLL_SECONDS = 0.05
START_SECONDS = 120.0
END_SECONDS = 60.0
FIRST_SPARE = 3
"""The number of the first generator beside the two that the system was started with."""


class Lane:
    """One stack, and its processes: armed, ended, frozen, and started again as Kubernetes would.

    Everything that starts or looks at processes runs on the loop: `part` keeps its children in one list for all.
    """

    def __init__(self, stack: Stack, database: asyncpg.Pool, scale: float) -> None:
        """`scale` is what all times of the protocol are multiplied by."""
        self.stack = stack
        self.database = database
        self.scale = scale
        self.client = Client(stack)
        self.recorder = Recorder(stack)
        self.beyond: set[str] = set()
        """Jobs to which more happened than the promises allow for; each of them may cost a prediction too many."""
        self._down: set[str] = set()
        self._armed_from: dict[str, int] = {}
        self._armed_pid: dict[str, int | None] = {}

    def spare(self, number: int) -> str:
        """The name of one of the generators that run only with failpoints, counted from 0."""
        part = self.stack.services.generator(FIRST_SPARE + number)
        if part.name not in self.stack.parts:
            self.stack.parts[part.name] = part
            self._down.add(part.name)
        return part.name

    async def start_armed(self, name: str, failpoints: str) -> None:
        """Start a part, or start it again, with these failpoints; returns once it is ready, or one of them has struck."""
        await self.end(name)
        part = self.stack.parts[name]
        self._armed_from[name] = self.log_size(name)
        part.environment[VARIABLE] = failpoints
        part.start()
        self._armed_pid[name] = part.pid()
        self._down.discard(name)
        deadline = time.monotonic() + START_SECONDS
        while not self.reached(name) and not await asyncio.to_thread(part.is_ready):
            if part.pid() is None:
                raise part.failure("ended at its start")
            if time.monotonic() > deadline:
                raise part.failure("was not ready in time")
            await asyncio.sleep(POLL_SECONDS)

    def log_size(self, name: str) -> int:
        """How much a part has written so far, in bytes."""
        log = self.stack.parts[name].log_file
        return log.stat().st_size if log.exists() else 0

    def logged(self, name: str, event: str, offset: int | None = None) -> list[dict[str, Any]]:
        """The log lines of an event that a part wrote since that offset, or since it was started with failpoints."""
        with self.stack.parts[name].log_file.open("rb") as log:
            log.seek(self._armed_from[name] if offset is None else offset)
            mark = f'"event":"{event}"'.encode()
            return [orjson.loads(line) for line in log if mark in line and line.endswith(b"\n")]

    def reached(self, name: str) -> list[str]:
        """The failpoints that have struck the part since it was started with them, in their order."""
        return [line["failpoint"] for line in self.logged(name, "failpoint.reached")]

    def died(self, name: str) -> bool:
        """Whether the process that was started with failpoints is gone."""
        return self.stack.pid(name) != self._armed_pid[name]

    def frozen(self, name: str) -> bool:
        """Whether the part's process has stopped."""
        pid = self.stack.pid(name)
        with suppress(psutil.NoSuchProcess):
            return pid is not None and psutil.Process(pid).status() == psutil.STATUS_STOPPED
        return False

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the part's process, if it lives."""
        if (pid := self.stack.pid(name)) is not None:
            processes.send(pid, number)

    async def end(self, name: str) -> None:
        """Ask a part to end, and wait until it has."""
        self._down.add(name)
        self.signal(name, signal.SIGTERM)
        await until(lambda: self.stack.pid(name) is None, END_SECONDS, what=f"the end of {name} after SIGTERM")

    async def keep_running(self) -> None:
        """Starts what has died again, without failpoints, as Kubernetes would. Runs until it is cancelled."""
        while True:
            for name, part in list(self.stack.parts.items()):
                if name not in self._down and part.pid() is None:
                    part.environment.pop(VARIABLE, None)
                    part.start()
            await asyncio.sleep(4 * POLL_SECONDS)

    async def ready(self, name: str) -> None:
        """Wait until a part is ready again."""
        part = self.stack.parts[name]
        deadline = time.monotonic() + START_SECONDS
        while not await asyncio.to_thread(part.is_ready):
            if time.monotonic() > deadline:
                raise part.failure("was not ready again in time")
            await asyncio.sleep(POLL_SECONDS)

    async def post(self, prompt: str, key: str) -> str:
        """Posts a job until it is accepted, with the same Idempotency-Key whatever the answers were; returns its id."""
        while True:
            with suppress(NotAccepted):
                return await self.recorder.post(prompt, key=key)
            await asyncio.sleep(POLL_SECONDS)

    async def cancel(self, job_id: str) -> None:
        """Asks for a job's end until that is answered."""
        while await self.recorder.cancel(job_id) not in (200, 409):
            await asyncio.sleep(POLL_SECONDS)

    async def states(self, ids: list[str]) -> dict[str, str]:
        """The state of each of these jobs, as the table has it."""
        rows = await self.database.fetch("SELECT id::text, state FROM jobs WHERE id = ANY($1::uuid[])", ids)
        return {row["id"]: row["state"] for row in rows}

    async def events(self, job_id: str) -> list[str]:
        """A job's history, a line for each transition."""
        rows = await self.database.fetch("SELECT * FROM job_events WHERE job_id = $1 ORDER BY version", job_id)
        return [
            f"{row['at']:%H:%M:%S.%f} {row['from_state']} → {row['to_state']} epoch {row['epoch']} {row['reason']}" for row in rows
        ]

    async def aclose(self) -> None:
        """Lets go of the connections."""
        await self.client.http.aclose()
        await self.recorder.aclose()
