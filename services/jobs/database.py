"""PostgreSQL: the pool, and statements that survive what their callers do not.

Hot statements run on raw asyncpg inside SQLAlchemy's pool: one statement is one transaction, and an answer means its commit.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncpg
import structlog
from prometheus_client import Counter, Gauge, Histogram
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from chassis.errors import AppError, unavailable
from jobs.database_url import connect_arguments

log = structlog.get_logger()

DISCONNECTS = ("08", "57P", "25006")
"""SQLSTATEs after which a connection is of no use: lost, shut down, or (25006) still open to a server that was demoted."""

OVERLOADS = ("53", "55P03", "57014")
"""No room or no connections left, a lock or a statement that took too long: the connection is fine, the request may come again."""

REPEATABLE = ("40P01", "40001", "0A000")
"""Deadlock, serialization failure, and a cached plan that a migration made stale: the same statement may simply run again."""


GUARDED = "MG"
"""How the SQLSTATEs begin that the database's own guard refuses a write with: a mistake of ours, which must never happen."""

_wait_seconds = Histogram(
    "mediagen_db_pool_wait_seconds",
    "Seconds that a statement waited for a connection, in vain too.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
_statement_seconds = Histogram(
    "mediagen_db_statement_seconds",
    "Seconds of a statement, from when it had a connection to its last row; an answer means its commit.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
)
_pool_size = Gauge("mediagen_db_pool_size", "Connections to PostgreSQL that this process may have.")
_pool_in_use = Gauge("mediagen_db_pool_in_use", "Connections to PostgreSQL that are in use.")
_errors = Counter(
    "mediagen_db_errors_total",
    "Statements that failed: the database was away or overloaded, the statement was repeated, or the database's guard refused it.",
    ["kind"],
)
_away_errors, _overloads, _repeats, _guard_refusals = (
    _errors.labels(kind) for kind in ("away", "overloaded", "repeated", "guard_refused")
)


def make_engine(url: str, connect_args: Mapping[str, Any] | None = None, **options: Any) -> AsyncEngine:
    """SQLAlchemy's engine for what a URI says. asyncpg reads it: SQLAlchemy knows neither libpq's parameters nor several hosts."""
    arguments = {**connect_arguments(url), **(connect_args or {})}
    return create_async_engine("postgresql+asyncpg://", connect_args=arguments, **options)


class Database:
    """A bounded pool of connections that are alike in every setting that matters for durability."""

    def __init__(self, url: str, pool_size: int) -> None:
        """Connects when first used. No overflow: connections beyond the pool would be opened and thrown away under load."""
        self.url = url
        """With its password: for engines, and no log."""
        self.engine = make_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_use_lifo=True,  # in a quiet hour one connection does all, and has its plans; taken in turn, all are cold
            pool_timeout=5,
            pool_recycle=300,
            hide_parameters=True,  # an error's text would hold prompts
            connect_args={
                "timeout": 5,
                # Every statement is prepared once a connection, the long ones too: to plan a transition takes tens of milliseconds.
                "max_cacheable_statement_size": 0,
                # Above the server's own limit, so that it strikes only where the server is not heard any more.
                "command_timeout": 18,
                "server_settings": {
                    "application_name": "mediagen-jobs",
                    "statement_timeout": "15000",
                    "lock_timeout": "10000",
                    "idle_in_transaction_session_timeout": "10000",
                    "jit": "off",
                    # The server, too, lets go of a session whose client is not there any more: within a minute.
                    "tcp_keepalives_idle": "30",
                    "tcp_keepalives_interval": "10",
                    "tcp_keepalives_count": "3",
                },
            },
        )
        self._generation = 0
        pool: Any = self.engine.sync_engine.pool
        _pool_size.set(pool_size)
        _pool_in_use.set_function(pool.checkedout)
        event.listen(self.engine.sync_engine, "connect", self._connected)
        event.listen(self.engine.sync_engine, "checkout", self._checked_out)

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Runs one statement in a transaction of its own and returns its rows once it is committed.

        It runs to its end even if the caller is cancelled. Raises AppError UNAVAILABLE where the database is away; the statement
        may have been committed then, as after any lost answer. Other errors of the statement pass through.
        """
        running = asyncio.ensure_future(self._fetch(sql, arguments))
        running.add_done_callback(lambda done: done.cancelled() or done.exception())  # a cancelled caller does not ask how it ended
        try:
            return await asyncio.shield(running)
        finally:
            del running  # it holds an exception whose traceback holds this frame: a cycle, with the arguments in it

    async def _fetch(self, sql: str, arguments: tuple[object, ...]) -> list[asyncpg.Record]:
        for attempt in range(5):
            try:
                async with self._connection() as connection:
                    raw: Any = (await connection.get_raw_connection()).driver_connection
                    began = time.perf_counter()
                    try:
                        rows: list[asyncpg.Record] = await raw.fetch(sql, *arguments)
                        _statement_seconds.observe(time.perf_counter() - began)
                        return rows
                    except asyncpg.PostgresError as error:
                        state = error.sqlstate or ""
                        if state.startswith(DISCONNECTS):
                            raise await self._lost(connection) from error
                        if state.startswith(OVERLOADS):
                            _overloads.inc()
                            raise unavailable(f"The database is overloaded ({state}); nothing is lost, try again.") from error
                        if state.startswith(GUARDED):
                            _guard_refusals.inc()
                        if state not in REPEATABLE or attempt == 4:
                            raise
                        _repeats.inc()
                        log.info("database.repeated", sqlstate=state)
                    except (asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError, OSError) as error:
                        raise await self._lost(connection) from error
            except (OSError, TimeoutError, PoolTimeout, DBAPIError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
                raise _away() from error
            await asyncio.sleep(0.01 * (attempt + 1))
        raise AssertionError("unreachable")

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[AsyncConnection]:
        """A connection for SQLAlchemy's own statements. Raises AppError UNAVAILABLE where the database is away."""
        try:
            async with self._connection() as connection:
                try:
                    yield connection
                except DBAPIError as error:
                    if error.connection_invalidated or _sqlstate(error).startswith(DISCONNECTS):
                        raise await self._lost(connection) from error
                    raise
        except (OSError, TimeoutError, PoolTimeout) as error:
            raise _away() from error
        except DBAPIError as error:
            if error.connection_invalidated or _sqlstate(error).startswith((*DISCONNECTS, *OVERLOADS)):
                raise _away() from error
            raise

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection of the pool, and the wait for it on record: where all are taken for long, most of those who wait give up."""
        asked = time.perf_counter()
        async with contextlib.AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(self.engine.connect())
            except PoolTimeout:
                _wait_seconds.observe(time.perf_counter() - asked)
                raise
            _wait_seconds.observe(time.perf_counter() - asked)
            yield connection

    async def _lost(self, connection: AsyncConnection) -> AppError:
        """Drops the connection, and all that were made before now: whatever ended this one has ended them, too.

        Those that wait in the pool are replaced when they are next asked for. SQLAlchemy's dispose() would say goodbye to each, one
        after the other, and wait for answers that do not come from where nobody is heard any more.
        """
        self._generation += 1
        if not connection.invalidated:
            raw: Any = (await connection.get_raw_connection()).driver_connection
            raw.terminate()
            await connection.invalidate()
        return _away()

    def _connected(self, dbapi_connection: Any, record: Any) -> None:
        record.info["generation"] = self._generation

    def _checked_out(self, dbapi_connection: Any, record: Any, fairy: Any) -> None:
        if record.info["generation"] != self._generation:
            dbapi_connection.driver_connection.terminate()
            raise DisconnectionError  # SQLAlchemy replaces it with a new one

    async def close(self) -> None:
        """Closes every connection."""
        await self.engine.dispose()


def _sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _away() -> AppError:
    _away_errors.inc()
    return unavailable("The database is away; nothing is lost, try again.")
