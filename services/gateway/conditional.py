"""Conditional and partial requests, as RFC 9110 defines them: ETags, If-None-Match, Range and If-Range."""

import re
from typing import NamedTuple

from starlette.datastructures import Headers

_ETAG = re.compile(r'(?:W/)?("[^"]*")')
_RANGE = re.compile(r"bytes=\s*(\d*)\s*-\s*(\d*)\s*", re.IGNORECASE)


class Span(NamedTuple):
    """A part of a file."""

    start: int
    """Its first byte."""
    end: int
    """The byte after its last one."""

    @property
    def length(self) -> int:
        """Its bytes."""
        return self.end - self.start


class Unsatisfiable(Exception):
    """The range lies outside of the file."""


def if_none_match(headers: Headers, etag: str) -> bool:
    """Whether the caller has this very representation already."""
    wanted = ", ".join(headers.getlist("if-none-match"))
    return wanted.strip() == "*" or etag in _ETAG.findall(wanted)


def requested_span(headers: Headers, etag: str, size: int) -> Span | None:
    """The part of a file of `size` bytes that was asked for; None where all of it is to be sent. Raises Unsatisfiable.

    Several ranges at once, other units and nonsense are answered with the whole file, which the standard allows; so is an If-Range
    that names another version, or a date: a file here has no date.
    """
    value = headers.get("range")
    found = _RANGE.fullmatch(value) if value is not None else None
    if found is None or headers.get("if-range", etag) != etag:
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        raise Unsatisfiable
    return Span(start, end)
