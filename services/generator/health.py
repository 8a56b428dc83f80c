"""Whether this generator is alive and of use, in a sentence where it is not."""

import time

from generator.leash import Leash
from generator.poller import Poller
from generator.worker import Worker

STUCK_SECONDS = 90.0
"""A loop that has not come round for this long is stuck: its slowest step times out well before."""


class Health:
    """The checks behind /livez and /readyz."""

    def __init__(self, worker: Worker, poller: Poller, leash: Leash) -> None:
        """They are only looked at."""
        self._worker = worker
        self._poller = poller
        self._leash = leash

    def live(self) -> str | None:
        """The loops come round."""
        for name, beat in (("heartbeat", self._worker.beat), ("poller", self._poller.beat)):
            if (age := time.monotonic() - beat) > STUCK_SECONDS:
                return f"the {name} loop has been stuck for {age:.0f} s"
        return None

    def ready(self) -> str | None:
        """Jobs answered a heartbeat within the last lease."""
        if self._leash.draining:
            return "ending"
        if time.monotonic() - self._leash.heard_at > self._leash.timing.lease_seconds:
            return "jobs does not answer heartbeats"
        return None
