"""Times as Replicate writes them."""

import datetime
import email.utils
import re
from typing import Any


def moment(text: Any) -> datetime.datetime | None:
    """Reads an RFC 3339 time with 6 or 9 digits of a second, or none; None where it is no time."""
    try:
        found = datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def server_time(date: str | None) -> datetime.datetime | None:
    """A Date header; None where there is none, or none that can be read."""
    try:
        return email.utils.parsedate_to_datetime(date or "").astimezone(datetime.UTC)
    except ValueError:
        return None
