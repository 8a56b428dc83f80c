"""Times as Replicate writes them."""

import datetime
import re
from typing import Any


def moment(text: Any) -> datetime.datetime | None:
    """Reads an RFC 3339 time with 6 or 9 digits of a second, or none; None where it is no time."""
    try:
        found = datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
