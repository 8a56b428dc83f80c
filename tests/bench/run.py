"""One run: its settings, what it measures, and what it has noted; and how a row is measured by turns."""

import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from bench.records import Book, Sample
from bench.rig import Rig
from bench.rivals import Peer
from bench.settings import Settings
from bench.subjects import Subject

WARM_UP_SECONDS = 1.0

Who = TypeVar("Who", bound=Subject)


@dataclass
class Run:
    """What every row is given."""

    settings: Settings
    rig: Rig
    say: Callable[[str], None]
    """Told of each measurement as it begins."""
    book: Book = field(default_factory=Book)
    failed: list[str] = field(default_factory=list)
    """What could not be measured, and why."""

    async def beside(self, *names: str, every_form: bool = False) -> list[Peer]:
        """Those of these peers that the settings want, running: in their plain form, or in each, where processes may help."""
        wanted = [name for name in names if name in self.settings.peers]
        return [peer for name in wanted for peer in (await self.rig.peers(name))[: None if every_form else 1]]

    async def by_turns(
        self, row: str, what: str, unit: str, subjects: Sequence[Who], measure: Callable[[Who], Awaitable[Sample]]
    ) -> None:
        """Measures each subject in each round: what a machine does by itself strikes all of them alike. One that fails is left out
        from then on."""
        left = list(subjects)
        for number in range(self.settings.rounds):
            for subject in list(left):
                self.say(f"row {row}: {what}, {subject.name}, round {number + 1} of {self.settings.rounds}")
                try:
                    self.book.add(row, what, subject.name, unit, await measure(subject))
                except Exception as error:
                    self.fail(f"row {row}: {what}, {subject.name}: {type(error).__name__}: {error}")
                    left.remove(subject)

    def fail(self, what: str) -> None:
        """Notes what could not be measured."""
        self.failed.append(what)
        self.say(f"failed: {what}\n{traceback.format_exc()}")
