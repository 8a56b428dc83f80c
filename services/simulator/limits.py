"""Rate limits: a token bucket for creates and one for everything else, as Replicate keeps for an account."""

from dataclasses import dataclass, field

LOW_CREDIT_PER_MINUTE = 6
"""Creates in a minute, one at a time, while the account is low on credit."""


@dataclass
class Bucket:
    """Tokens that come back evenly over a minute."""

    per_minute: int
    """0 is unlimited."""

    burst: int
    """How many may be taken at once."""

    tokens: float = field(init=False)
    at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        """Full at the start."""
        self.tokens = self.burst

    def take(self, now: float) -> float:
        """Takes a token and returns 0, or returns the seconds until there is one; `now` is in seconds of any steady clock."""
        if self.per_minute == 0:
            return 0.0
        rate = self.per_minute / 60
        self.tokens = min(self.burst, self.tokens + (now - self.at) * rate)
        self.at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) / rate


def bucket(per_minute: int) -> Bucket:
    """A bucket that lets ten seconds' worth through at once."""
    return Bucket(per_minute, max(1, per_minute // 6))


class Limits:
    """The buckets of the account."""

    def __init__(self, creates_per_minute: int, reads_per_minute: int) -> None:
        """Full buckets; 0 is unlimited."""
        self.creates = bucket(creates_per_minute)
        self.reads = bucket(reads_per_minute)
        self.low_credit = Bucket(LOW_CREDIT_PER_MINUTE, burst=1)
