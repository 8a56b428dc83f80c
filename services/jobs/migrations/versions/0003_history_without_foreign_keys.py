"""A job's attempts and history go with it by a trigger, without foreign keys; and the guard is called only where it has to refuse.

A foreign key is checked by a statement of its own for each row that is written: eight for a job. Each row of its attempts and
history is written by a statement that holds the job's own row; its key's tenant is the job's, which is still checked; and the lane
is the only one that there is. The guard was a function that each update called, to find nothing.
"""

import time

from alembic import op
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

revision = "0003"
down_revision = "0002"

TABLES = "idempotency_keys, lanes, jobs, submissions, job_events, tenants"
"""Those that are changed or referred to, in the order in which a create takes them."""

TRIES = 30
"""How often the tables are asked for: for about a minute where one is in use all the time."""

LOCK_MS = 1200
"""How long a try waits for each table: longer than the second (deadlock_timeout) after which autovacuum makes way. What comes
meanwhile waits behind us: the rest of a try in which a table is in use, and for a second one as long again."""

PAUSE_SECONDS = 1.0
"""How long everybody else has after a try that was in vain."""

NOT_NOW = ("55P03", "40P01")
"""SQLSTATEs of a lock that could not be had in time, and of a deadlock: statements take these tables in more than one order."""


def upgrade() -> None:
    """Swaps them in one transaction. What it replaces serves the version before, too, whose deletions the trigger completes."""
    _lock()
    for table, column in (("submissions", "job_id"), ("job_events", "job_id"), ("jobs", "lane"), ("idempotency_keys", "tenant_id")):
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_{column}_fkey")
    op.execute("""
        CREATE FUNCTION forget_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            -- By arrays: for a set of unknown size PostgreSQL might read the tables from end to end.
            DELETE FROM submissions WHERE job_id = ANY (ARRAY(SELECT id FROM gone));
            DELETE FROM job_events WHERE job_id = ANY (ARRAY(SELECT id FROM gone));
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER forget_jobs AFTER DELETE ON jobs REFERENCING OLD TABLE AS gone
            FOR EACH STATEMENT EXECUTE FUNCTION forget_jobs()
    """)
    op.execute("DROP TRIGGER guard_job ON jobs")
    # The conditions of guard_job(), which says of each what is wrong: a new one belongs into both.
    op.execute("""
        CREATE TRIGGER guard_job BEFORE UPDATE ON jobs FOR EACH ROW WHEN (
            OLD.finished_at IS NOT NULL AND (NEW.state IS DISTINCT FROM OLD.state OR NEW.outputs IS DISTINCT FROM OLD.outputs)
            OR NEW.epoch < OLD.epoch OR NEW.version < OLD.version
            OR NEW.state IS DISTINCT FROM OLD.state AND NEW.version = OLD.version
        ) EXECUTE FUNCTION guard_job()
    """)


def _lock() -> None:
    """Takes the tables for the transaction, in tries that hold nobody up for long. Raises DBAPIError where all were in vain."""
    connection = op.get_bind()
    for tries_left in reversed(range(TRIES)):
        attempt = connection.begin_nested()
        try:
            connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_MS}"))
            connection.execute(text(f"LOCK TABLE {TABLES} IN ACCESS EXCLUSIVE MODE"))
        except DBAPIError as error:
            attempt.rollback()
            if getattr(error.orig, "sqlstate", None) not in NOT_NOW or not tries_left:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            attempt.commit()
            return
