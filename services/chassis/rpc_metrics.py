"""What is counted of the calls that a server answers, under the names and labels that gRPC's ecosystem uses."""

import contextlib
import time
from collections.abc import Iterator

import grpc
from prometheus_client import Counter, Histogram

_METHOD = ["grpc_type", "grpc_service", "grpc_method"]

_started = Counter("grpc_server_started_total", "RPCs begun.", _METHOD)
_handled = Counter("grpc_server_handled_total", "RPCs completed, by code.", [*_METHOD, "grpc_code"])
_seconds = Histogram(
    "grpc_server_handling_seconds",
    "Seconds from an RPC's arrival to its end; a stream's is the client's to choose.",
    _METHOD,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


class Outcome:
    """How a call ends: OK unless somebody says otherwise."""

    code = grpc.StatusCode.OK.name


class MethodMetrics:
    """The series of one method, which are looked up once."""

    def __init__(self, method: str, kind: str) -> None:
        """`method` is the whole path, /package.Service/Method, `kind` one of `unary`, `server_stream` and `bidi_stream`.

        Its series are there from now on, with zeros.
        """
        service, _, name = method.strip("/").rpartition("/")
        self._labels = (kind, service, name)
        self._started = _started.labels(*self._labels)
        self._seconds = _seconds.labels(*self._labels)
        self._handled = {Outcome.code: _handled.labels(*self._labels, Outcome.code)}

    @contextlib.contextmanager
    def measured(self) -> Iterator[Outcome]:
        """Counts one call, which lasts as long as the context."""
        outcome = Outcome()
        began = time.perf_counter()
        self._started.inc()
        try:
            yield outcome
        finally:
            self._seconds.observe(time.perf_counter() - began)
            if outcome.code not in self._handled:
                self._handled[outcome.code] = _handled.labels(*self._labels, outcome.code)
            self._handled[outcome.code].inc()
