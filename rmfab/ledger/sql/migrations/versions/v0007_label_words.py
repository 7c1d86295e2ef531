"""What is known of the labels that printers print."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the counts and times of labels that were sent, printed and scanned, and since when one is in doubt."""
    for word in ("sent", "printed", "scanned"):
        count = sa.Column(f"{word}_count", sa.Integer, nullable=False, server_default="0")
        op.add_column("identity", count)
        op.add_column("identity", sa.Column(f"{word}_ts", sa.String(32)))
    op.add_column("identity", sa.Column("doubt_ts", sa.String(32)))
    doubtful = sa.text("doubt_ts IS NOT NULL")
    op.create_index("ix_identity_doubt", "identity", ["doubt_ts"], sqlite_where=doubtful, postgresql_where=doubtful)
