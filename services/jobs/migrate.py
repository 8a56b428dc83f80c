"""The schema: bringing it up to date, and refusing one that is older than the code."""

import asyncio
from pathlib import Path

import asyncpg
import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from chassis.lifecycle import StartupError
from jobs.database import make_engine

log = structlog.get_logger()

LOCK = 0x6D656469616765
"""Key of the advisory lock under which migrations run ("mediage"): several pods may start at once."""

WAIT_SECONDS = 30


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return config


def _upgrade(connection: Connection) -> None:
    # A session lock over all migrations; each of them is a transaction of its own.
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})
    connection.commit()
    try:
        current = MigrationContext.configure(connection).get_current_revision()
        connection.commit()  # within a transaction of ours Alembic would begin none
        if current is not None and current not in _known():
            log.info("schema.newer", schema=current, code=schema_of_code())  # on the way back to an older version
            return
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    finally:
        connection.rollback()  # of the migration that failed, if one has
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK})
        connection.commit()


async def migrate(engine: AsyncEngine) -> None:
    """Runs every migration that is missing; a newer schema is left alone.

    Raises StartupError where the database stays away for WAIT_SECONDS, or refuses a migration; those before it stay.
    """
    await wait_for_database(engine)
    async with engine.connect() as connection:
        try:
            await connection.run_sync(_upgrade)
        except DBAPIError as error:
            raise StartupError(f"the schema could not be migrated, try again: {error.orig or error}") from error


async def wait_for_database(engine: AsyncEngine) -> None:
    """Returns once a statement gets through. Raises StartupError after WAIT_SECONDS, or at once where waiting would not help."""
    deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
    while True:
        try:
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
            return
        except asyncpg.ClientConfigurationError as error:
            raise StartupError(f"JOBS_DATABASE_URL: {error.args[0]}") from None
        except (OSError, TimeoutError, DBAPIError, asyncpg.InternalClientError) as error:  # the last: of several hosts, none is it
            cause = getattr(error, "orig", None) or error
            if asyncio.get_running_loop().time() > deadline:
                raise StartupError(f"JOBS_DATABASE_URL: no PostgreSQL answers there: {cause}") from None
        await asyncio.sleep(0.5)


def _known() -> list[str]:
    """The revisions of this code."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]


def schema_of_code() -> str:
    """The revision that this code migrates to."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


async def check_schema(engine: AsyncEngine) -> None:
    """Raises StartupError where the schema lacks a migration that this code knows. A newer schema is fine: it is upgraded first."""
    head = schema_of_code()
    async with engine.connect() as connection:
        current = await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())
    if current is None or (current in _known() and current != head):
        raise StartupError(
            f"the database's schema is at {current or 'nothing'}, older than {head}: run `python -m jobs migrate` first"
        )


async def wait_for_schema(url: str, seconds: float) -> None:
    """`python -m jobs wait-for-schema`: returns once `serve` would start. Raises StartupError with what is missing otherwise."""
    engine = make_engine(url)
    deadline = asyncio.get_running_loop().time() + seconds
    try:
        while True:
            try:
                await wait_for_database(engine)
                return await check_schema(engine)
            except (StartupError, OSError, TimeoutError, DBAPIError) as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                log.info("schema.awaited", because=str(error))
            await asyncio.sleep(1)
    finally:
        await engine.dispose()


async def run(url: str) -> None:
    """`python -m jobs migrate`."""
    engine = make_engine(url)
    try:
        await migrate(engine)
    finally:
        await engine.dispose()
