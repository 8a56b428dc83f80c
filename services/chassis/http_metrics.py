"""What is counted of requests that a service makes by HTTP: how many, by kind and status, and how long they took."""

import contextlib
import functools
import time
from collections.abc import Iterator

from prometheus_client import Counter, Histogram


class Requests:
    """The requests to one server. Their kinds are few and named by us."""

    def __init__(self, requests: Counter, seconds: Histogram) -> None:
        """`requests` has the kind and the status as labels, `seconds` the kind alone."""
        self._counter = functools.cache(requests.labels)
        self._histogram = functools.cache(seconds.labels)

    def expect(self, kind: str, *codes: str) -> None:
        """These are there from now on, with zeros, so that a rate of them is 0 and not absent."""
        self._histogram(kind)
        for code in codes:
            self._counter(kind, code)

    @contextlib.contextmanager
    def measured(self, kind: str) -> Iterator[list[int]]:
        """Counts one request, which lasts as long as the context; the status of its answer is put into what this yields."""
        statuses: list[int] = []
        began = time.perf_counter()
        try:
            yield statuses
        finally:
            self._histogram(kind).observe(time.perf_counter() - began)
            self._counter(kind, str(statuses[0]) if statuses else "none").inc()


object_store = Requests(
    Counter(
        "mediagen_s3_requests_total",
        "Requests to the object store, by method and status, `none` without one.",
        ["method", "code"],
    ),
    Histogram(
        "mediagen_s3_request_seconds",
        "Seconds of a request to the object store: of a GET until its answer begins, of the others until it has come.",
        ["method"],
        buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120),
    ),
)
"""The requests to the object store."""
