"""The gauges that only the database knows: how many jobs are where, how old the oldest are, what the account has left.

They are read when somebody scrapes, at most every few seconds: a service that nobody watches asks nothing. Every instance tells the
same, so that dashboards take the largest.
"""

import asyncio
import contextlib
import math
import time
from typing import Any

import asyncpg
import structlog
from prometheus_client import REGISTRY, Gauge
from sqlalchemy.pool import NullPool

from jobs import statements
from jobs.database import Database, make_engine
from jobs.migrate import schema_of_code

log = structlog.get_logger()

FRESH_SECONDS = 5.0
"""How long what was read is shown."""

PATIENCE_SECONDS = 2.0
"""How long a scrape waits for an answer, and then for the census: the other metrics matter most while it is away."""

MOST_COUNTED = 10_000
"""As many waiting jobs are counted; what is beyond is estimated."""

LANE = "default"
REASONS = ("rate_limit", "insufficient_credit", "account_unauthorized", "provider_redirected", "other")
STATES = ("queued", "claimed", "submitting", "submitted", "unknown")

_by_state = Gauge(
    "mediagen_jobs_in_state", f"Unfinished jobs, by state; beyond {MOST_COUNTED} waiting ones (queued) an estimate.", ["state"]
)
_unfinished = Gauge(
    "mediagen_jobs_unfinished", "Jobs that wait or are at work, as last counted: what generators are to be scaled on."
)
_waiting_age = Gauge(
    "mediagen_jobs_oldest_waiting_seconds",
    "How long the job that waits longest could have been claimed; 0 where none waits.",
)
_running_age = Gauge(
    "mediagen_jobs_oldest_running_seconds", "Since when the job at work that was claimed first is at work; 0 where none is."
)
_prediction_age = Gauge(
    "mediagen_jobs_oldest_prediction_seconds",
    "Since when the oldest prediction that is followed was to be created; 0 where none is. Its output has to be stored in time.",
)
_unknown_age = Gauge(
    "mediagen_jobs_oldest_unknown_seconds", "Since when the oldest create of unknown outcome is looked up; 0 where there is none."
)
_relay_lag = Gauge(
    "mediagen_jobs_relay_lag_seconds",
    "How long the job that is due longest has not been rung for. It grows while no generator has a slot, or the lane is paused.",
)
_workers = Gauge("mediagen_workers", "Generators whose heartbeat is younger than a lease.")
_workers_refusing = Gauge("mediagen_workers_refusing_creates", "Those of them whose bucket takes no writes.")
_slots = Gauge("mediagen_worker_slots", "Jobs that all generators can work on at a time.")
_slots_free = Gauge("mediagen_worker_slots_free", "Jobs that all generators could take now.")
_paused = Gauge("mediagen_lane_paused", "1 while the account may create nothing, by the reason.", ["lane", "reason"])
_creates_rate = Gauge("mediagen_lane_creates_per_minute", "Creates that the account may make a minute; 0 is unlimited.", ["lane"])
_creates_left = Gauge("mediagen_lane_creates_left", "Creates that the account may make at once, of its rate.", ["lane"])
_reads_rate = Gauge("mediagen_lane_reads_per_minute", "Reads that the account may make a minute; 0 is unlimited.", ["lane"])
_reads_left = Gauge("mediagen_lane_reads_left", "Reads that the account may make at once, of its rate.", ["lane"])
_dead_tuples = Gauge("mediagen_db_dead_tuples", "Old versions of rows that no vacuum has cleared away yet.", ["table"])
_live_tuples = Gauge("mediagen_db_live_tuples", "Rows of a table, as PostgreSQL estimates them.", ["table"])
_schema = Gauge("mediagen_db_schema_revision", "The number of the migration that the database is at.")
_schema_of_code = Gauge("mediagen_db_schema_revision_of_code", "The number of the last migration that this code knows.")
_up = Gauge("mediagen_db_up", "1 where the database answered the last scrape, on a connection made for it.")


class Census:
    """Asks the database how things stand, on a connection of its own: the pool may be used up, and is not to be used up by this."""

    def __init__(self, database: Database, lease: float, settle: float) -> None:
        """Nothing is asked before a scrape. A worker is believed alive for `lease` seconds, a create on its way for `settle`."""
        self._engine = make_engine(
            database.url,
            poolclass=NullPool,
            hide_parameters=True,
            connect_args={
                "timeout": PATIENCE_SECONDS,
                "server_settings": {
                    "application_name": "mediagen-jobs: census",
                    "statement_timeout": str(int(PATIENCE_SECONDS * 1000)),  # the server, too, lets go of what nobody waits for
                    "jit": "off",
                },
            },
        )
        self._statement = statements.census(lease, settle, MOST_COUNTED)
        self._asked_at = -math.inf
        self._asking = asyncio.Lock()
        self._counted = False
        """Whether jobs were ever counted."""
        self._failing = False
        """Whether the last time failed, which is said once: scrapes come every few seconds."""
        _schema_of_code.set(int(schema_of_code()))

    async def refresh(self) -> None:
        """Brings the gauges up to date. What the database does not tell is NaN, as what was true once says nothing."""
        async with self._asking:
            if time.monotonic() - self._asked_at >= FRESH_SECONDS:
                await self._refresh()
                self._asked_at = time.monotonic()

    async def _refresh(self) -> None:
        """A database that answers and is too slow for the census, as a table is locked, is up all the same."""
        answered = False
        row = None
        try:
            async with contextlib.AsyncExitStack() as stack:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    connection = await stack.enter_async_context(self._engine.connect())
                    raw: Any = (await connection.get_raw_connection()).driver_connection
                    await raw.fetch("SELECT 1")
                answered = True
                async with asyncio.timeout(PATIENCE_SECONDS + 0.5):
                    row = await raw.fetchrow(self._statement)
        except Exception as error:  # whatever is odd here, the other metrics are to be seen
            if not self._failing:
                log.warning("census.failed", answered=answered, error=f"{type(error).__name__}: {error}")
        self._failing = row is None
        self._show(row)
        _up.set(answered)

    def _show_unfinished(self, count: float | None) -> None:
        """What is not known now is what was counted last; what never was, is not there.

        KEDA takes NaN for 0 and ends every generator. A metric that is missing is an error to it, which it may take for 0 as well:
        in 2.21 the error of one that asks lets another, who asks at the same time, go without an answer.
        """
        if count is not None:
            self._counted = True
            _unfinished.set(count)
        with contextlib.suppress(KeyError, ValueError):  # it is so already
            REGISTRY.register(_unfinished) if self._counted else REGISTRY.unregister(_unfinished)

    def _show(self, row: asyncpg.Record | None) -> None:
        def value(column: str) -> float:
            return math.nan if row is None else float(row[column])

        for state in STATES:
            _by_state.labels(state).set(value(state))
        self._show_unfinished(None if row is None else sum(map(value, STATES)))
        _waiting_age.set(value("waiting_age"))
        _running_age.set(value("running_age"))
        _prediction_age.set(value("prediction_age"))
        _unknown_age.set(value("unknown_age"))
        _relay_lag.set(value("relay_lag"))
        _workers.set(value("workers"))
        _workers_refusing.set(value("no_creates"))
        _slots.set(value("slots"))
        _slots_free.set(value("free_slots"))
        now = "" if row is None or not row["paused"] else row["paused_reason"] if row["paused_reason"] in REASONS else "other"
        for reason in REASONS:
            _paused.labels(LANE, reason).set(math.nan if row is None else reason == now)
        _creates_rate.labels(LANE).set(value("rate"))
        _creates_left.labels(LANE).set(value("tokens"))
        _reads_rate.labels(LANE).set(value("reads_per_minute"))
        _reads_left.labels(LANE).set(value("read_tokens"))
        _dead_tuples.labels("jobs").set(value("dead_tuples"))
        _live_tuples.labels("jobs").set(value("live_tuples"))
        _schema.set(value("schema_revision"))
