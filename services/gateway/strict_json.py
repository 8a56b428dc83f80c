"""JSON bodies read strictly, so that two readers of one body can never understand different things.

Refused: duplicate names, NaN and Infinity, numbers beyond a double's range, deep nesting, strings that PostgreSQL cannot keep.
"""

import json
import math
import re
from typing import Any, NamedTuple

MAX_DEPTH = 64
"""Levels of objects and arrays in one body."""

_SPACE = re.compile(r"[ \t\n\r]*")


class InvalidJson(ValueError):
    """The body cannot be accepted as JSON; the message says what is wrong, and where."""


class JsonObject(NamedTuple):
    """A body that is one JSON object."""

    members: dict[str, Any]
    """Its members, parsed."""
    text: str
    """The body itself."""

    def source(self, name: str) -> str:
        """The text of member `name` as it was written: numbers keep every digit. The member must exist."""
        at = self.text.index("{") + 1
        while True:
            key, at = _plain.raw_decode(self.text, _after_space(self.text, at))
            start = _after_space(self.text, self.text.index(":", at) + 1)
            _, end = _plain.raw_decode(self.text, start)
            if key == name:
                return self.text[start:end]
            at = self.text.index(",", end) + 1


def read_object(body: bytes) -> JsonObject:
    """Parses a body that must be one JSON object; raises InvalidJson."""
    try:
        text = body.decode()
        members = _strict.decode(text)
    except UnicodeDecodeError as error:
        raise InvalidJson(f"The body is not UTF-8: byte {error.start} is wrong.") from None
    except json.JSONDecodeError as error:
        if not text.strip(" \t\r\n"):
            raise InvalidJson("The body is empty; it must be a JSON object.") from None
        raise InvalidJson(f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise InvalidJson(_TOO_DEEP) from None
    except InvalidJson:
        raise
    except ValueError:  # Python converts no more than 4,300 digits
        raise InvalidJson("An integer in the body has too many digits.") from None
    if not isinstance(members, dict):
        raise InvalidJson("The body must be a JSON object.")
    if "\\u" in text or text.count("{") + text.count("[") > MAX_DEPTH:  # only then can there be something to find
        _inspect(members)
    return JsonObject(members, text)


_TOO_DEEP = f"The body is nested too deeply; {MAX_DEPTH} levels are allowed."


def _inspect(document: Any) -> None:
    left = [(document, 1)]
    while left:
        item, depth = left.pop()
        if isinstance(item, str):
            if "\0" in item or any("\ud800" <= character <= "\udfff" for character in item):
                raise InvalidJson("A string in the body holds U+0000 or half of a surrogate pair, which cannot be stored.")
        elif isinstance(item, dict | list):
            if depth > MAX_DEPTH:
                raise InvalidJson(_TOO_DEEP)
            left.extend((child, depth + 1) for child in item)
            if isinstance(item, dict):
                left.extend((child, depth + 1) for child in item.values())


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidJson(f"The name {twice[:100]!r} appears twice in one object.")
    return members


def _no_constant(name: str) -> float:
    raise InvalidJson(f"{name} is not JSON.")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise InvalidJson(f"The number {text[:100]} is too large.")
    return number


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None  # it matches nothing at all, too
    return found.end()


_strict = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
_plain = json.JSONDecoder()
