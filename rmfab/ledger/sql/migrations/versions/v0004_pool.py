"""Chains with ids of their own, and identities in quarantine."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_STATES = "'generated', 'claimed', 'flashed', 'verified', 'failed', 'void', 'quarantined'"
_CHECKS = (
    ("ck_identity_state", f"state IN ({_STATES})"),
    ("ck_identity_bound", "state IN ('generated', 'quarantined', 'void') OR mac IS NOT NULL"),
    ("ck_identity_free", "state NOT IN ('generated', 'quarantined') OR mac IS NULL"),
)
_PARTIAL = (
    ("ix_event_release", "event", ["id"], "kind = 'release'", False),
    ("ix_event_trust", "event", ["id"], "kind = 'trust'", False),
    ("ix_event_flash", "event", ["serial", "id"], "step = 'flash'", False),
    ("uq_identity_live_mac", "identity", ["mac"], "state != 'void'", True),
)
"""The indexes with a condition, which a table loses when SQLite copies it: name, table, columns, condition, unique."""


def upgrade() -> None:
    """Give each station's chain an id, and let an identity be in quarantine."""
    for name, table, *_ in _PARTIAL:
        op.drop_index(name, table)
    _chains()
    _events()
    _identities()
    for name, table, columns, where, unique in _PARTIAL:
        condition = sa.text(where)
        op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def _chains() -> None:
    op.create_table(
        "chain",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("station", sa.String(64), nullable=False),
        sa.Column("open", sa.Boolean, nullable=False),
        sa.Column("last_seq", sa.Integer, nullable=False),
        sa.Column("last_hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_chain"),
    )
    is_open = sa.text("open")
    op.create_index("uq_chain_open", "chain", ["station"], unique=True, sqlite_where=is_open, postgresql_where=is_open)
    connection = op.get_bind()
    ledger_id = connection.execute(sa.text("SELECT value FROM meta WHERE name = 'ledger_id'")).scalar_one_or_none()
    chain = sa.table("chain", *map(sa.column, ("id", "station", "open", "last_seq", "last_hash")))
    for row in connection.execute(sa.text("SELECT name, last_seq, last_hash FROM station")).all():
        # The chain keeps its first hash, and its id shows that (rmfab.ledger.chains.genesis).
        first = hashlib.sha256(f"rmfab ledger {ledger_id} station {row.name}".encode()).hexdigest()
        values = {"id": first[:32], "open": True, "last_seq": row.last_seq, "last_hash": row.last_hash}
        connection.execute(sa.insert(chain).values(station=row.name, **values))


def _events() -> None:
    op.add_column("event", sa.Column("chain", sa.String(32)))
    op.execute("UPDATE event SET chain = (SELECT chain.id FROM chain WHERE chain.station = event.station)")
    with op.batch_alter_table("event") as event:
        event.drop_constraint("fk_event_station", type_="foreignkey")
        event.drop_constraint("uq_event_station_seq", type_="unique")
        event.alter_column("chain", existing_type=sa.String(32), nullable=False)
        event.alter_column("state", existing_type=sa.String(9), type_=sa.String(16))
        event.create_foreign_key("fk_event_chain", "chain", ["chain"], ["id"])
        event.create_unique_constraint("uq_event_chain_seq", ["chain", "seq"])
    op.drop_table("station")


def _identities() -> None:
    with op.batch_alter_table("identity") as identity:
        identity.alter_column("state", existing_type=sa.String(9), type_=sa.String(16))
        for name, condition in _CHECKS:
            identity.drop_constraint(op.f(name), type_="check")
            identity.create_check_constraint(op.f(name), sa.text(condition))
