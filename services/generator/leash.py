"""What ties a generator to jobs: the protocol's times, and how long ago jobs last heard of it."""

import asyncio
import time

from mediagen.jobs.v1.worker_pb2 import Timing


class Leash:
    """Learns from every heartbeat; without a recent one nothing paid is begun, as the leases may have passed."""

    def __init__(self) -> None:
        """Loose until the first heartbeat, which brings the times."""
        self.timing = Timing()
        """The times as jobs last told them."""
        self.draining = False
        """True once this process is to end: nothing new is begun."""
        self.heard_at = -float("inf")
        """When the last heartbeat that was answered had been sent, by the monotonic clock."""
        self._heard = asyncio.Event()

    def heard(self, sent_at: float, timing: Timing) -> None:
        """A heartbeat sent at `sent_at` was answered."""
        self.heard_at = sent_at
        self.timing = timing
        self._heard.set()

    def drain(self) -> None:
        """Lets nothing new begin."""
        self.draining = True
        self._heard.set()

    def tight(self) -> bool:
        """Whether a paid request may be sent: the last heartbeat is younger than two thirds of a lease."""
        return time.monotonic() - self.heard_at < self.timing.lease_seconds * 2 / 3

    async def held(self) -> None:
        """Waits until it is tight, or the drain begins."""
        while not self.tight() and not self.draining:
            self._heard.clear()
            await self._heard.wait()
