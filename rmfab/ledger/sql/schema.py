"""The ledger's tables, as of the newest revision of the migrations.

SQLAlchemy Core, no ORM, and nothing that is specific to SQLite. Uniqueness, foreign keys and the states are
constraints of the database. Times are text, ISO 8601 in UTC with milliseconds; digests and ids are lower-case hex.

Partial indexes name their condition only for SQLite: naming it for PostgreSQL here would load that dialect at every
start. `rmfab.ledger.sql.upgrade` takes the same one for every engine.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

LONG = BigInteger().with_variant(Integer, "sqlite")
"""64 bits; SQLite's INTEGER always has them, and only a column of that type counts by itself."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

meta = Table(
    "meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
"""`ledger_id` (uuid4 hex), `unique_key` (fingerprint of the key under which PoPs are compared), `holder` (the id under
which a host may give identities, see `rmfab.ledger.pool`), `copy` (the time at which this file was made as a copy)."""

batch = Table(
    "batch",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("auto_named", Boolean(create_constraint=False), nullable=False),
    Column("product", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("chunk_size", Integer, nullable=False),
    Column("first_n", Integer),
    Column("state", String(8), nullable=False),
    Column("digest", String(64)),
    Column("created_ts", String(32), nullable=False),
    CheckConstraint("state IN ('open', 'closed')", name="state"),
)
"""`policy` is canonical JSON of how the identities were made. `first_n` is NULL if the serials were supplied."""

chunk = Table(
    "chunk",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("batch_id", Integer, ForeignKey("batch.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("first", Integer, nullable=False),
    Column("size", Integer, nullable=False),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("digest", String(64), nullable=False),
    UniqueConstraint("batch_id", "number"),
)
"""Identities written together, sealed under one data key; `first` is the position of the first one."""

identity = Table(
    "identity",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("batch_id", Integer, ForeignKey("batch.id"), nullable=False),
    Column("chunk_id", Integer, ForeignKey("chunk.id"), nullable=False),
    Column("position", Integer, nullable=False),
    # The record as it was made, never changed afterwards: the fields of SealedRecord. `serial` is the name of the
    # identity in the pool, and in the events.
    Column("serial", String(64), nullable=False, unique=True),
    Column("node_id", Text, unique=True),
    Column("certificate_serial", String(64), unique=True),
    Column("certificate", LargeBinary),
    Column("pop_tag", String(64), nullable=False, unique=True),
    Column("random_sha256", String(64), nullable=False, unique=True),
    Column("service_name", Text, nullable=False),
    Column("sealed_key", LargeBinary),
    Column("sealed_random", LargeBinary, nullable=False),
    Column("sealed_sec2", LargeBinary),
    Column("sealed_extra", LargeBinary),
    # The current standing, a projection of the events: the fields of Standing.
    Column("state", String(16), nullable=False),
    Column("mac", String(23)),
    Column("given_serial", String(64)),
    Column("attempts", Integer, nullable=False, default=0),
    Column("claimed_ts", String(32)),
    Column("flashed_ts", String(32)),
    Column("verified_ts", String(32)),
    Column("void_ts", String(32)),
    Column("labelled_count", Integer, nullable=False, default=0),
    Column("labelled_ts", String(32)),
    Column("sent_count", Integer, nullable=False, server_default="0"),
    Column("sent_ts", String(32)),
    Column("printed_count", Integer, nullable=False, server_default="0"),
    Column("printed_ts", String(32)),
    Column("scanned_count", Integer, nullable=False, server_default="0"),
    Column("scanned_ts", String(32)),
    Column("doubt_ts", String(32)),
    Column("cause", Text),
    Column("reason", Text),
    Column("handover", Integer),
    CheckConstraint(
        "state IN ('generated', 'claimed', 'flashed', 'verified', 'failed', 'void', 'quarantined', 'handed-over')",
        name="state",
    ),
    CheckConstraint("state IN ('generated', 'quarantined', 'handed-over', 'void') OR mac IS NOT NULL", name="bound"),
    CheckConstraint("state NOT IN ('generated', 'quarantined', 'handed-over') OR mac IS NULL", name="free"),
    UniqueConstraint("batch_id", "position"),
    UniqueConstraint("batch_id", "service_name"),
)
Index("ix_identity_claim", identity.c.batch_id, identity.c.state, identity.c.position)
Index(
    "uq_identity_live_mac",
    identity.c.mac,
    unique=True,
    sqlite_where=identity.c.state != "void",
)
Index("ix_identity_mac", identity.c.mac)
Index(
    "ix_identity_handover",
    identity.c.handover,
    sqlite_where=identity.c.handover.is_not(None),
)
Index("ix_identity_given_serial", identity.c.given_serial)
Index(
    "uq_identity_given_serial",
    identity.c.given_serial,
    unique=True,
    sqlite_where=identity.c.state != "void",
)

Index(
    "ix_identity_doubt",
    identity.c.doubt_ts,
    sqlite_where=identity.c.doubt_ts.is_not(None),
)

chain = Table(
    "chain",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("station", String(64), nullable=False),
    Column("open", Boolean(create_constraint=False), nullable=False),
    Column("last_seq", Integer, nullable=False),
    Column("last_hash", String(64), nullable=False),
    Column("ledger", String(32)),
)
"""The head of each chain of events. A station adds to its open chain. `ledger` is the id of the ledger from which the
chain was merged; NULL for those that this ledger wrote."""
Index(
    "uq_chain_open",
    chain.c.station,
    unique=True,
    sqlite_where=chain.c.open,
)

event = Table(
    "event",
    metadata,
    Column("id", LONG, primary_key=True),
    Column("chain", String(32), ForeignKey("chain.id"), nullable=False),
    Column("station", String(64), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("ts", String(32), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("batch", String(64)),
    Column("serial", String(64)),
    Column("mac", String(23)),
    Column("slot", Text),
    Column("step", String(32)),
    Column("outcome", String(16)),
    Column("state", String(16)),
    Column("cause", Text),
    Column("reason", Text),
    Column("seconds", Float(53)),
    Column("details", Text, nullable=False),
    Column("prev_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("chain", "seq"),
)
"""Append-only history. `id` is the order in which the ledger stored the events; `details` is canonical JSON."""
Index("ix_event_serial", event.c.serial, event.c.id)
Index("ix_event_mac", event.c.mac, event.c.id)
Index("ix_event_batch_kind", event.c.batch, event.c.kind)
Index(
    "ix_event_release",
    event.c.id,
    sqlite_where=event.c.kind == "release",
)
Index(
    "ix_event_trust",
    event.c.id,
    sqlite_where=event.c.kind == "trust",
)
Index(
    "ix_event_flash",
    event.c.serial,
    event.c.id,
    sqlite_where=event.c.step == "flash",
)
