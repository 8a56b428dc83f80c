"""Numbers that whoever starts the tests may choose, by the environment."""

import os
from collections.abc import Callable
from typing import TypeVar

import pytest

Number = TypeVar("Number", int, float)


def positive(text: str, kind: Callable[[str], Number]) -> Number:
    """The text as a number above 0; raises ValueError where it is none."""
    value = kind(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


def chosen(variable: str, default: Number, kind: Callable[[str], Number]) -> Number:
    """The variable's value, which has to be above 0; where it is none, nothing runs, and a line says why."""
    text = os.environ.get(variable, "")
    try:
        return positive(text, kind) if text else default
    except ValueError:
        meaning = "a whole number" if kind is int else "a number"
        raise pytest.Collector.CollectError(f"{variable}={text} is not {meaning} above 0") from None
