"""How often this generator may ask Replicate: its share of the account's budget, which jobs hands out with every heartbeat."""

import time

IDLE_WISH = 10
"""Reads wanted while nothing is followed, so that the first job's first looks need not wait for a heartbeat."""


class ReadBudget:
    """Reads until the next heartbeat. Where heartbeats fail, the last share is taken again: following a prediction harms nobody."""

    def __init__(self) -> None:
        """Nothing may be read before the first heartbeat."""
        self._share = 0
        self._left = 0
        self._renew_at = float("inf")
        self._period = 0.0
        self._asked = 0
        self.planned = 0
        """How many reads until the next heartbeat the poller expects to need."""

    def grant(self, reads: int, period: float) -> None:
        """A heartbeat handed out `reads`; the next one is due in `period` seconds."""
        self._share = self._left = reads
        self._period = period
        self._asked = 0
        self._renew_at = time.monotonic() + 2 * period

    def take(self) -> bool:
        """Takes one read, or says that none is left; what is refused is asked for in the next heartbeat."""
        if time.monotonic() >= self._renew_at:
            self.grant(self._share, self._period)
        self._asked += 1
        if self._left <= 0:
            return False
        self._left -= 1
        return True

    def spend(self) -> None:
        """Counts a call that cannot wait, such as a cancel."""
        self._asked += 1
        self._left -= 1

    @property
    def left(self) -> int:
        """Reads that are left until the next heartbeat."""
        return max(0, self._left)

    def wanted(self) -> int:
        """What to ask for: what was asked since the last heartbeat, or what is planned, whichever is more."""
        return max(IDLE_WISH, self._asked, self.planned)
