"""Identities that are handed over, and chains of events that were merged from other ledgers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_STATES = "'generated', 'claimed', 'flashed', 'verified', 'failed', 'void', 'quarantined', 'handed-over'"
_CHECKS = (
    ("ck_identity_state", f"state IN ({_STATES})"),
    ("ck_identity_bound", "state IN ('generated', 'quarantined', 'handed-over', 'void') OR mac IS NOT NULL"),
    ("ck_identity_free", "state NOT IN ('generated', 'quarantined', 'handed-over') OR mac IS NULL"),
)
_LIVE = {"uq_identity_live_mac": "mac", "uq_identity_given_serial": "given_serial"}
"""The indexes over live units, and their column."""


def upgrade() -> None:
    """Let an identity be in a handover, and a chain be that of a different ledger."""
    for name in _LIVE:  # SQLite copies the table, and would lose their condition
        op.drop_index(name, "identity")
    with op.batch_alter_table("identity") as identity:
        identity.add_column(sa.Column("handover", sa.Integer))
        for name, condition in _CHECKS:
            identity.drop_constraint(op.f(name), type_="check")
            identity.create_check_constraint(op.f(name), sa.text(condition))
    live, given = sa.text("state != 'void'"), sa.text("handover IS NOT NULL")
    for name, column in _LIVE.items():
        op.create_index(name, "identity", [column], unique=True, sqlite_where=live, postgresql_where=live)
    op.create_index("ix_identity_handover", "identity", ["handover"], sqlite_where=given, postgresql_where=given)
    op.add_column("chain", sa.Column("ledger", sa.String(32)))
