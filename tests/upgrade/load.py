"""Requests at a steady rate, whether or not the earlier ones are answered, and none of them sent twice."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle

from choices import chosen
from history.evidence import Row
from history.recorder import NotAccepted, Recorder

RATE = chosen("UPGRADE_REQUESTS_A_SECOND", 200, int)
"""Requests a second; a machine that is busy with other things may be asked for fewer."""

CREATES = 40
"""Every how many-th of them is a create; the others read the status of a new job. Pictures are dear."""

FOLLOWED = 50
"""So many of the newest jobs are read."""


class Load:
    """The load of one experiment: what it sent, and what was answered."""

    def __init__(self, recorder: Recorder, rate: int = RATE) -> None:
        """The recorder must give up at its first answer: a request sent again has failed. `rate` is the requests of a second."""
        self._recorder = recorder
        self._rate = rate
        self._told_before = len(recorder.told)
        self._ended = asyncio.Event()
        self._sent = 0
        self._seconds = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        """Sends while the context lasts, and then waits for the answers that are left."""
        sending = asyncio.create_task(self._send())
        try:
            yield self
        finally:
            self._ended.set()
            await sending

    async def _send(self) -> None:
        recorder, under_way = self._recorder, set[asyncio.Task[None]]()
        await recorder.post("the first")
        began = time.monotonic()
        for kind in cycle(["create", *["read"] * (CREATES - 1)]):
            if self._ended.is_set():
                break
            await asyncio.sleep(
                began + self._sent / self._rate - time.monotonic()
            )  # also where it is late: others must have their turn
            task = asyncio.create_task(self._create() if kind == "create" else self._read())
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            self._sent += 1
        await asyncio.gather(*under_way)
        self._seconds = time.monotonic() - began

    async def _create(self) -> None:
        with contextlib.suppress(NotAccepted):  # it is on record
            await self._recorder.post(f"number {self._sent}")

    async def _read(self) -> None:
        newest = list(self._recorder.accepted)[-FOLLOWED:]
        await self._recorder.job(newest[self._sent % len(newest)])

    @property
    def rate(self) -> float:
        """Requests that were answered, in a second."""
        return self._sent / self._seconds

    def _told(self) -> list[Row]:
        return self._recorder.told[self._told_before :]

    def failures(self) -> list[Row]:
        """The requests that were answered with an error or not at all."""
        return [note for note in self._told() if note["status"] not in (200, 202)]

    def check_answers(self, what: str = "the load ran") -> None:
        """Fails where a request did by now, which was before or while what `what` says."""
        failures = self.failures()
        assert not failures, f"{len(failures)} of {self._sent} requests failed until {what}, such as {failures[:3]}"

    def check(self) -> None:
        """Fails where a request did, or where this machine could not carry the load: then nothing was shown."""
        self.check_answers()
        assert self.rate > 0.95 * self._rate, (
            f"{self.rate:.0f} requests a second, not {self._rate}: this machine is too busy to tell (UPGRADE_REQUESTS_A_SECOND)"
        )

    def summary(self) -> str:
        """The figures, in a line."""
        times = sorted(note["ended"] - note["began"] for note in self._told())
        middle, late = times[len(times) // 2], times[len(times) * 99 // 100]
        return (
            f"{self._sent} requests at {self.rate:.0f} a second, {len(self.failures())} failed; "
            f"{middle * 1000:.0f} ms in the middle, p99 {late * 1000:.0f} ms, the slowest {times[-1] * 1000:.0f} ms"
        )
