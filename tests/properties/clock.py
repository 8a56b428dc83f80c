"""A clock of its own for PostgreSQL: `now()` stands still until it is set on, so that a slow machine changes nothing.

Functions of a schema that is named before pg_catalog in the search path are taken instead of the built-in ones
(https://www.postgresql.org/docs/15/ddl-schemas.html, 5.9.5), so the statements under test are the real ones, word for word.
"""

from typing import Any

from jobs.database import Database

SEARCH_PATH = "clock, pg_catalog, public"

_INSTALL = """
DO $do$ DECLARE kept record; BEGIN
    CREATE SCHEMA clock;
    CREATE TABLE clock.time (at timestamptz NOT NULL);
    INSERT INTO clock.time VALUES ('2026-01-01');
    CREATE SEQUENCE clock.throws;
    CREATE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT at FROM clock.time';
    CREATE FUNCTION clock.random() RETURNS float8 LANGUAGE sql VOLATILE
        AS 'SELECT hashint8(nextval(''clock.throws'')) / 4294967296.0 + 0.5';
    FOR kept IN SELECT table_name, column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND column_default LIKE '%now()'
    LOOP
        EXECUTE format('ALTER TABLE public.%I ALTER COLUMN %I SET DEFAULT clock.now()', kept.table_name, kept.column_name);
    END LOOP;
END $do$
"""

RESET = "WITH reset AS (SELECT setval('clock.throws', 1)) UPDATE clock.time SET at = '2026-01-01' FROM reset"
"""The same time and the same chances again."""

PASS_TIME = "UPDATE clock.time SET at = at + make_interval(secs => $1)"

TICK = "UPDATE clock.time SET at = at + interval '1 ms'"
"""What happens after this is later, and hardly so."""


def connect_by_it(parameters: dict[str, Any]) -> None:
    """Changes the arguments of asyncpg.connect so that the connection's statements see this clock."""
    parameters["server_settings"] = {**parameters["server_settings"], "search_path": SEARCH_PATH}


async def install(database: Database) -> None:
    """Makes the clock in this database, at its start time."""
    await database.fetch(_INSTALL)
