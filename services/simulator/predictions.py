"""The predictions of the account: found by id or by the token of their files, and listed newest first."""

import bisect
import itertools

from simulator.prediction import Prediction

PAGE_SIZE = 100
"""Predictions on a page of the list."""


class Predictions:
    """All predictions since the start or the last reset, in the order of their creates."""

    def __init__(self) -> None:
        """None yet."""
        self.all: list[Prediction] = []
        self._by_id: dict[str, Prediction] = {}
        self._by_token: dict[str, Prediction] = {}
        self._kept = 0

    def add(self, prediction: Prediction) -> None:
        """Adds the newest one."""
        self.all.append(prediction)
        self._by_id[prediction.id] = self._by_token[prediction.token] = prediction

    def get(self, prediction_id: str) -> Prediction | None:
        """The one with that id."""
        return self._by_id.get(prediction_id)

    def with_token(self, token: str) -> Prediction | None:
        """The one whose files' URLs carry that token."""
        return self._by_token.get(token)

    def page(
        self, now: float, *, older_than: int | None, newer_than: int | None, after: float | None, before: float | None
    ) -> tuple[list[Prediction], bool, bool]:
        """A page, newest first, and whether there are newer and older ones.

        `older_than` and `newer_than` are places in the order of creates; `after` (included) and `before` (excluded) are times.
        """
        low = 0 if after is None else bisect.bisect_left(self.all, after, key=lambda item: item.created)
        high = len(self.all)
        if before is not None:
            high = bisect.bisect_left(self.all, before, key=lambda item: item.created)
        if newer_than is not None:
            found = self._shown(range(max(low, newer_than), high), now)
            return found[:PAGE_SIZE][::-1], len(found) > PAGE_SIZE, True
        top = high if older_than is None else min(high, older_than - 1)
        found = self._shown(range(top - 1, low - 1, -1), now)
        return found[:PAGE_SIZE], older_than is not None, len(found) > PAGE_SIZE

    def _shown(self, places: range, now: float) -> list[Prediction]:
        """Those at the places that the list shows by now, up to one more than a page holds."""
        shown = (self.all[place] for place in places if self.all[place].listed <= now)
        return list(itertools.islice(shown, PAGE_SIZE + 1))

    def forget_data(self, now: float, retention: float) -> None:
        """Lets go of the inputs and outputs that are past their time, so that a long run does not fill the memory."""
        while self._kept < len(self.all) and self.all[self._kept].removed(now, retention):
            past = self.all[self._kept]
            past.input = past.output = None
            past.prompt = past.prompt[:200]
            self._kept += 1
