"""The ledger: what was asked of the simulator, counted, so that a test can say `creates == jobs`."""

from collections import Counter, deque


class Pace:
    """The most calls that fell into any 60 seconds, to the second."""

    def __init__(self) -> None:
        """No call yet."""
        self.total = 0
        self.most = 0
        self._within = 0
        self._seconds: deque[list[int]] = deque()

    def count(self, now: float) -> None:
        """Counts a call at `now`, in seconds of a steady clock."""
        second = int(now)
        while self._seconds and self._seconds[0][0] <= second - 60:
            self._within -= self._seconds.popleft()[1]
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append([second, 0])
        self._seconds[-1][1] += 1
        self._within += 1
        self.total += 1
        self.most = max(self.most, self._within)


class Ledger:
    """Counters since the start or the last reset. Predictions are no counter: they are listed one by one."""

    def __init__(self) -> None:
        """All zero."""
        self.posts = Pace()
        """Every POST that asks for a prediction, whatever became of it."""
        self.reads = Pace()
        """Every other call of the API."""
        self.reads_by_call: Counter[str] = Counter()
        """The same by kind: get, list, cancel, other."""
        self.refused: Counter[str] = Counter()
        """Creates that made no prediction: by status of the answer, or `reset`."""
        self.throttled = 0
        """Calls of both kinds that got a 429 from the rate limits, not from a rule."""
        self.downloads = 0
        """Requests for output files."""
        self.authorization_seen_on_files = False
        """Whether any request for an output file carried an Authorization header: a leaked token."""
