"""What webhooks of the provider said: a table of its own, so that the version before runs on this schema, too."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Makes the table, and an index for each way into it: by its message, by its intent, what waits to be acted on, what is old."""
    op.execute("""
        CREATE TABLE provider_inbox (
            -- The sender's id of the message: it may be sent again, and is noted once.
            webhook_id text PRIMARY KEY,
            -- Whose create carried the URL that it came to.
            intent_id uuid NOT NULL,
            prediction_id text NOT NULL,
            -- Whether it said that the prediction has ended; otherwise that it exists.
            ended boolean NOT NULL,
            received_at timestamptz NOT NULL DEFAULT now(),
            processed_at timestamptz
        )
    """)
    op.execute("CREATE INDEX provider_inbox_by_intent ON provider_inbox (intent_id)")
    op.execute("CREATE INDEX provider_inbox_waiting ON provider_inbox (received_at) WHERE processed_at IS NULL")
    op.execute("CREATE INDEX provider_inbox_by_age ON provider_inbox (received_at)")
