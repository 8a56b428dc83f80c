"""The time by another server's clock: our own may be hours off, and a signature that is made with it is refused."""

import email.utils
import time
from datetime import UTC, datetime, timedelta


def parse_date(header: str | None) -> datetime | None:
    """A Date header; None where there is none, or none that can be read."""
    try:
        return email.utils.parsedate_to_datetime(header or "").astimezone(UTC)
    except ValueError:
        return None


class ServerTime:
    """One server's time, as its last answer told it; our own until there was one."""

    def __init__(self) -> None:
        """Nothing was heard of the server yet."""
        self._told: datetime | None = None
        self._told_at = 0.0

    def learn(self, date: str | None) -> timedelta:
        """Takes the Date header of an answer, and returns how far off `now` was; nothing, where there is no such header."""
        told = parse_date(date)
        if told is None:
            return timedelta()
        off = told - self.now()
        self._told, self._told_at = told, time.monotonic()
        return off

    def now(self) -> datetime:
        """The server's time."""
        if self._told is None:
            return datetime.now(UTC)
        return self._told + timedelta(seconds=time.monotonic() - self._told_at)
