"""Indexes for accepted releases and the units that were flashed with one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the indexes; the events themselves do not change."""
    for name, columns, where in (
        ("ix_event_release", ["id"], sa.text("kind = 'release'")),
        ("ix_event_flash", ["serial", "id"], sa.text("step = 'flash'")),
    ):
        op.create_index(name, "event", columns, sqlite_where=where, postgresql_where=where)
