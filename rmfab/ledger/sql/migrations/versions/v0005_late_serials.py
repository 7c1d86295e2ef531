"""Serials that an identity gets with its board."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the serial that was given at the claim; only one live unit has it."""
    op.add_column("identity", sa.Column("given_serial", sa.String(64)))
    op.create_index("ix_identity_given_serial", "identity", ["given_serial"])
    live = sa.text("state != 'void'")
    op.create_index(
        "uq_identity_given_serial",
        "identity",
        ["given_serial"],
        unique=True,
        sqlite_where=live,
        postgresql_where=live,
    )
