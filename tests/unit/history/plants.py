"""Mistakes that a system could make, planted into the clean history; the modules planted_*.py register them here."""

from collections.abc import Callable
from uuid import UUID

from history.evidence import Row
from unit.history.world import World

Plant = Callable[[World], object]
STRANGER = str(UUID(int=99))
PLANTS: list[tuple[str, str, Plant]] = []
"""The invariant that is violated, words of the sentence that says so, and how it is done."""


def plant(invariant: str, words: str) -> Callable[[Plant], Plant]:
    def add(function: Plant) -> Plant:
        PLANTS.append((invariant, words, function))
        return function

    return add


def drop(rows: list[Row], condition: Callable[[Row], object]) -> None:
    rows[:] = [row for row in rows if not condition(row)]
