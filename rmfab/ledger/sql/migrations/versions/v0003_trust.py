"""An index for which trust files were accepted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds the index; the events themselves stay as they are."""
    where = sa.text("kind = 'trust'")
    op.create_index("ix_event_trust", "event", ["id"], sqlite_where=where, postgresql_where=where)
