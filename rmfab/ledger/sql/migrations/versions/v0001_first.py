"""The first schema: batches, identities, stations and their events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_LONG = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite's INTEGER has 64 bits


def upgrade() -> None:
    """Create the tables of an empty ledger."""
    op.create_table(
        "meta",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_meta"),
    )
    _batches()
    _identities()
    _events()


def _batches() -> None:
    op.create_table(
        "batch",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("auto_named", sa.Boolean, nullable=False),
        sa.Column("product", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("chunk_size", sa.Integer, nullable=False),
        sa.Column("first_n", sa.Integer),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("digest", sa.String(64)),
        sa.Column("created_ts", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_batch"),
        sa.UniqueConstraint("name", name="uq_batch_name"),
        sa.CheckConstraint("state IN ('open', 'closed')", name=op.f("ck_batch_state")),
    )
    op.create_table(
        "chunk",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("batch_id", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("first", sa.Integer, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_chunk"),
        sa.UniqueConstraint("batch_id", "number", name="uq_chunk_batch_id_number"),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], name="fk_chunk_batch_id"),
    )


def _identities() -> None:
    op.create_table(
        "identity",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("batch_id", sa.Integer, nullable=False),
        sa.Column("chunk_id", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("serial", sa.String(64), nullable=False),
        sa.Column("node_id", sa.Text),
        sa.Column("certificate_serial", sa.String(64)),
        sa.Column("certificate", sa.LargeBinary),
        sa.Column("pop_tag", sa.String(64), nullable=False),
        sa.Column("random_sha256", sa.String(64), nullable=False),
        sa.Column("service_name", sa.Text, nullable=False),
        sa.Column("sealed_key", sa.LargeBinary),
        sa.Column("sealed_random", sa.LargeBinary, nullable=False),
        sa.Column("sealed_sec2", sa.LargeBinary),
        sa.Column("sealed_extra", sa.LargeBinary),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("mac", sa.String(23)),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("claimed_ts", sa.String(32)),
        sa.Column("flashed_ts", sa.String(32)),
        sa.Column("verified_ts", sa.String(32)),
        sa.Column("void_ts", sa.String(32)),
        sa.Column("labelled_count", sa.Integer, nullable=False),
        sa.Column("labelled_ts", sa.String(32)),
        sa.Column("cause", sa.Text),
        sa.Column("reason", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_identity"),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], name="fk_identity_batch_id"),
        sa.ForeignKeyConstraint(["chunk_id"], ["chunk.id"], name="fk_identity_chunk_id"),
        sa.UniqueConstraint("serial", name="uq_identity_serial"),
        sa.UniqueConstraint("node_id", name="uq_identity_node_id"),
        sa.UniqueConstraint("certificate_serial", name="uq_identity_certificate_serial"),
        sa.UniqueConstraint("pop_tag", name="uq_identity_pop_tag"),
        sa.UniqueConstraint("random_sha256", name="uq_identity_random_sha256"),
        sa.UniqueConstraint("batch_id", "position", name="uq_identity_batch_id_position"),
        sa.UniqueConstraint("batch_id", "service_name", name="uq_identity_batch_id_service_name"),
        sa.CheckConstraint(
            "state IN ('generated', 'claimed', 'flashed', 'verified', 'failed', 'void')",
            name=op.f("ck_identity_state"),
        ),
        sa.CheckConstraint("state IN ('generated', 'void') OR mac IS NOT NULL", name=op.f("ck_identity_bound")),
        sa.CheckConstraint("state <> 'generated' OR mac IS NULL", name=op.f("ck_identity_free")),
    )
    op.create_index("ix_identity_claim", "identity", ["batch_id", "state", "position"])
    op.create_index("ix_identity_mac", "identity", ["mac"])
    live = sa.text("state != 'void'")
    op.create_index("uq_identity_live_mac", "identity", ["mac"], unique=True, sqlite_where=live, postgresql_where=live)


def _events() -> None:
    op.create_table(
        "station",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("last_seq", sa.Integer, nullable=False),
        sa.Column("last_hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_station"),
    )
    op.create_table(
        "event",
        sa.Column("id", _LONG, nullable=False),
        sa.Column("station", sa.String(64), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("ts", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("batch", sa.String(64)),
        sa.Column("serial", sa.String(64)),
        sa.Column("mac", sa.String(23)),
        sa.Column("slot", sa.Text),
        sa.Column("step", sa.String(32)),
        sa.Column("outcome", sa.String(16)),
        sa.Column("state", sa.String(9)),
        sa.Column("cause", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("seconds", sa.Float(53)),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("prev_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_event"),
        sa.ForeignKeyConstraint(["station"], ["station.name"], name="fk_event_station"),
        sa.UniqueConstraint("station", "seq", name="uq_event_station_seq"),
    )
    op.create_index("ix_event_serial", "event", ["serial", "id"])
    op.create_index("ix_event_mac", "event", ["mac", "id"])
    op.create_index("ix_event_batch_kind", "event", ["batch", "kind"])
