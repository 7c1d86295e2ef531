"""An index for accepted trust files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the index; the events themselves do not change."""
    where = sa.text("kind = 'trust'")
    op.create_index("ix_event_trust", "event", ["id"], sqlite_where=where, postgresql_where=where)
