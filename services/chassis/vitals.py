"""What every service counts of itself: its version, and how late its loop is."""

import asyncio
import time

from prometheus_client import Gauge, Histogram

from chassis.version import VERSION

LOOK_SECONDS = 1.0
"""How often the loop is looked at."""

_build = Gauge("mediagen_build_info", "Always 1; its labels say what runs.", ["component", "version"])
_lag = Histogram(
    "mediagen_event_loop_lag_seconds",
    "How much later than asked the loop came round, once a second: everything that a process does waits as long.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


def tell_version(service: str) -> None:
    """Says what runs here."""
    _build.labels(service, VERSION).set(1)


async def watch_loop() -> None:
    """Looks at the loop for ever."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(LOOK_SECONDS)
        _lag.observe(max(0.0, time.perf_counter() - began - LOOK_SECONDS))
