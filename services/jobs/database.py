"""PostgreSQL: the pool, and statements that survive what their callers do not.

Hot statements run on raw asyncpg inside SQLAlchemy's pool: one statement is one transaction, and an answer means its commit.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from chassis.errors import AppError, unavailable

log = structlog.get_logger()

DISCONNECTS = ("08", "57P", "25006")
"""SQLSTATEs after which a connection is of no use: lost, shut down, or (25006) still open to a server that was demoted."""

OVERLOADS = ("53", "55P03", "57014")
"""No room or no connections left, a lock or a statement that took too long: the connection is fine, the request may come again."""

REPEATABLE = ("40P01", "40001", "0A000")
"""Deadlock, serialization failure, and a cached plan that a migration made stale: the same statement may simply run again."""


def async_url(url: str) -> str:
    """The URL as SQLAlchemy wants it for asyncpg."""
    return "postgresql+asyncpg://" + url.split("://", 1)[1]


class Database:
    """A bounded pool of connections that are alike in every setting that matters for durability."""

    def __init__(self, url: str, pool_size: int) -> None:
        """Connects when first used. No overflow: connections beyond the pool would be opened and thrown away under load."""
        self.engine: AsyncEngine = create_async_engine(
            async_url(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=5,
            pool_recycle=300,
            hide_parameters=True,  # an error's text would hold prompts
            connect_args={
                "timeout": 5,
                "command_timeout": 30,
                "server_settings": {
                    "application_name": "mediagen-jobs",
                    "statement_timeout": "20000",
                    "lock_timeout": "10000",
                    "idle_in_transaction_session_timeout": "10000",
                    "jit": "off",
                },
            },
        )

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Runs one statement in a transaction of its own and returns its rows once it is committed.

        It runs to its end even if the caller is cancelled. Raises AppError UNAVAILABLE where the database is away; the statement
        may have been committed then, as after any lost answer. Other errors of the statement pass through.
        """
        return await asyncio.shield(asyncio.ensure_future(self._fetch(sql, arguments)))

    async def _fetch(self, sql: str, arguments: tuple[object, ...]) -> list[asyncpg.Record]:
        for attempt in range(5):
            try:
                async with self.engine.connect() as connection:
                    raw: Any = (await connection.get_raw_connection()).driver_connection
                    try:
                        rows: list[asyncpg.Record] = await raw.fetch(sql, *arguments)
                        return rows
                    except asyncpg.PostgresError as error:
                        state = error.sqlstate or ""
                        if state.startswith(DISCONNECTS):
                            raise await self._lost(connection) from error
                        if state.startswith(OVERLOADS):
                            raise unavailable(f"The database is overloaded ({state}); nothing is lost, try again.") from error
                        if state not in REPEATABLE or attempt == 4:
                            raise
                        log.info("database.repeated", sqlstate=state)
                    except (asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError, OSError) as error:
                        raise await self._lost(connection) from error
            except (OSError, TimeoutError, PoolTimeout, DBAPIError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
                raise _away() from error
            except asyncpg.PostgresError as error:  # while connecting
                if (error.sqlstate or "").startswith((*DISCONNECTS, "53300")):
                    raise _away() from error
                raise
            await asyncio.sleep(0.01 * (attempt + 1))
        raise AssertionError("unreachable")

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[AsyncConnection]:
        """A connection for SQLAlchemy's own statements. Raises AppError UNAVAILABLE where the database is away."""
        try:
            async with self.engine.connect() as connection:
                yield connection
        except (OSError, TimeoutError, PoolTimeout) as error:
            raise _away() from error
        except DBAPIError as error:
            if error.connection_invalidated or (getattr(error.orig, "sqlstate", None) or "").startswith((*DISCONNECTS, *OVERLOADS)):
                raise _away() from error
            raise

    async def _lost(self, connection: AsyncConnection) -> AppError:
        """Drops the connection, and with it all that wait in the pool: whatever ended this one has ended them, too."""
        await connection.invalidate()
        await self.engine.dispose()
        return _away()

    async def close(self) -> None:
        """Closes every connection."""
        await self.engine.dispose()


def _away() -> AppError:
    return unavailable("The database is away; nothing is lost, try again.")
