"""A breadth-first model checker: visits every state that can be reached, and shows the shortest way to one that must not be.

It knows nothing of jobs. A model is an initial state, a function that yields the labelled steps out of a state, and functions that
name what is wrong with a state or with a step. States are hashable values.
"""

import gc
import time
from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

State = TypeVar("State", bound=Hashable)

STUCK = "stuck"
"""The violation found where no way leads from a state to a goal any more."""


@dataclass(frozen=True)
class Model(Generic[State]):
    """What is checked."""

    initial: State
    steps: Callable[[State], Iterable[tuple[str, State]]]
    """Every step out of a state: what happens, and the state after it."""
    wrong: Callable[[State], Iterable[str]]
    """The names of the invariants that a state breaks."""
    wrong_step: Callable[[State, State], Iterable[str]]
    """The names of the invariants that a step breaks."""
    is_goal: Callable[[State], bool]
    """Where everything should be able to end. A goal must stay reachable from every state (in CTL: AG EF goal)."""


@dataclass
class Verdict:
    """What a check found."""

    states: int = 0
    seconds: float = 0.0
    complete: bool = True
    """Whether every reachable state was visited."""
    traces: dict[str, list[str]] = field(default_factory=dict)
    """Of each broken invariant the labels of a shortest way to it."""

    @property
    def holds(self) -> bool:
        """Whether all of it was visited, and nothing was wrong."""
        return self.complete and not self.traces


class _Graph:
    """The states seen, numbered in the order in which they were found, and how each was reached first."""

    def __init__(self) -> None:
        self.labels: list[str] = [""]
        self.parents = array("l", [-1])
        self.sources = array("l")
        self.targets = array("l")

    def trace(self, number: int) -> list[str]:
        """The labels from the initial state to this one."""
        labels = []
        while number > 0:
            labels.append(self.labels[number])
            number = self.parents[number]
        return labels[::-1]

    def unable_to_reach(self, goals: Iterable[int]) -> int | None:
        """The first state from which no way leads to a goal; None where there is none."""
        count = len(self.labels)
        last_edge, edge_before = array("l", [-1]) * count, array("l", [-1]) * len(self.sources)
        for edge, target in enumerate(self.targets):
            edge_before[edge], last_edge[target] = last_edge[target], edge
        able = bytearray(count)
        waiting = list(goals)
        for number in waiting:
            able[number] = 1
        while waiting:
            edge = last_edge[waiting.pop()]
            while edge >= 0:
                source = self.sources[edge]
                if not able[source]:
                    able[source] = 1
                    waiting.append(source)
                edge = edge_before[edge]
        stuck = able.find(0)
        return None if stuck < 0 else stuck


def check(
    model: Model[State],
    *,
    until: str | None = None,
    progress: Callable[[int], None] = lambda states: None,
    limit: int = 20_000_000,
) -> Verdict:
    """Visits every reachable state, at most `limit`. The check ends early at the depth at which `until` is broken."""
    began = time.perf_counter()
    graph, verdict = _Graph(), Verdict()
    numbers: dict[State, int] = {model.initial: 0}
    goals = []
    layer = [model.initial]
    with _without_garbage_collection():
        while layer and until not in verdict.traces:
            following: list[State] = []
            for state in layer:
                number = numbers[state]
                for name in model.wrong(state):
                    verdict.traces.setdefault(name, graph.trace(number))
                if model.is_goal(state):
                    goals.append(number)
                for label, after in model.steps(state):
                    found = numbers.setdefault(after, len(numbers))
                    if found == len(graph.labels):
                        graph.labels.append(label)
                        graph.parents.append(number)
                        following.append(after)
                    graph.sources.append(number)
                    graph.targets.append(found)
                    for name in model.wrong_step(state, after):
                        verdict.traces.setdefault(name, [*graph.trace(number), label])
            progress(len(numbers))
            layer = following
            if len(numbers) > limit:
                verdict.complete = False
                break
        if not layer:
            stuck = graph.unable_to_reach(goals)
            if stuck is not None:
                verdict.traces[STUCK] = graph.trace(stuck)
    verdict.states, verdict.seconds = len(numbers), time.perf_counter() - began
    return verdict


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Millions of tuples that are all kept make every collection slower than the last, for nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
