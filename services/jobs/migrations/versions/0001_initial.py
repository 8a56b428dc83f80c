"""The first schema: tenants, keys, lanes, workers, jobs, submissions, events."""

from pathlib import Path

from alembic import op
from sqlalchemy import text

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Runs the SQL beside this file in the migration's transaction, through the driver: it takes several statements at once."""
    script = Path(__file__).with_suffix(".sql").read_text()
    connection = op.get_bind()
    connection.execute(text("SELECT 1"))  # opens the transaction that the driver's call then runs in
    connection.connection.run_async(lambda driver: driver.execute(script))
