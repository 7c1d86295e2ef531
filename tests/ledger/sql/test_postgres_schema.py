"""The schema on a server is that of a file, and only its owner upgrades it."""

import sqlite3
from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Index, select, text

from rmfab.errors import LedgerError
from rmfab.ledger.handovers import Terms
from rmfab.ledger.host import this_host
from rmfab.ledger.pool_standing import AdoptionReason
from rmfab.ledger.sql import migrations, postgres_schema, schema
from rmfab.ledger.sql.open_database import open_database
from rmfab.ledger.sql.revision import HEAD
from rmfab.ledger.states import State
from rmfab.ledger.store import Ledger, migrate
from tests.ledger.sql.describing import described
from tests.ledger.workshop import STATION, beneath, cause_of, claim, make, now

pytestmark = pytest.mark.peers


def test_a_new_ledger_has_the_schema_that_all_migrations_make(server, databases):
    """On a server, too, it is the same whether it was created at once or migrated from the first revision."""
    server.execute("CREATE DATABASE migrated TEMPLATE template0")
    database = open_database(server.url("migrated"), create=False, patience=30, state=this_host().state)
    try:
        with beneath(databases()) as connection, database.writing() as other:
            migrations.upgrade(other, HEAD)
            postgres_schema.complete(other)
            assert described(connection) == described(other)
            for one in (connection, other):
                context = MigrationContext.configure(one, opts={"compare_type": True})
                assert compare_metadata(context, schema.metadata) == []
                assert context.get_current_revision() == HEAD
    finally:
        database.dispose()
        server.execute("DROP DATABASE migrated WITH (FORCE)")


def test_partial_indexes_are_partial(databases):
    """The indexes with a condition have it on a server, where schema.py does not name it."""
    partial = {
        index.name
        for table in schema.metadata.tables.values()
        for index in table.indexes
        if isinstance(index, Index) and index.dialect_options["sqlite"]["where"] is not None
    }
    query = text("SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indpred IS NOT NULL")
    with beneath(databases()) as connection:
        assert set(connection.execute(query).scalars()) == partial


def test_texts_are_ordered_by_their_bytes(server, tmp_path):
    """In a database with a language's collation, texts are ordered and compared as in a file."""
    server.execute("CREATE DATABASE german TEMPLATE template0 ICU_LOCALE 'de' LOCALE_PROVIDER icu LOCALE 'C.UTF-8'")
    texts = ["a", "B", "Z", "z", "é", "aa", "_", "10", "9", "ä"]
    try:
        with Ledger.open(server.url("german"), create=True) as ledger:
            for name in texts:
                ledger.record(name if name.isascii() else "x", [])
        database = open_database(server.url("german"), create=False, patience=30, state=tmp_path)
        with database.writing() as connection:
            for name in texts:
                values = {"name": name, "value": ""}
                connection.execute(schema.meta.insert().values(values))
            found = connection.execute(
                select(schema.meta.c.name).where(schema.meta.c.value == "").order_by(schema.meta.c.name)
            )
            assert found.scalars().all() == sorted(texts, key=str.encode)
        database.dispose()
    finally:
        server.execute("DROP DATABASE german WITH (FORCE)")


def test_a_database_that_cannot_store_every_text(server):
    """A database with a different encoding is refused."""
    server.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    try:
        with pytest.raises(LedgerError, match="encoding of this database is LATIN1"):
            Ledger.open(server.url("latin"), create=True)
    finally:
        server.execute("DROP DATABASE latin WITH (FORCE)")


def test_a_database_of_a_different_program(server):
    """A database with other tables is not taken for a ledger."""
    server.execute("CREATE DATABASE shop TEMPLATE template0")
    server.execute("CREATE TABLE orders (id int)", "shop")
    try:
        assert cause_of(Ledger.open, server.url("shop"), create=True) == "ledger-foreign"
    finally:
        server.execute("DROP DATABASE shop WITH (FORCE)")


@pytest.fixture
def older(server):
    """The address of a ledger of revision 0003."""
    server.execute("CREATE DATABASE older TEMPLATE template0")
    address = server.url("older")
    database = open_database(address, create=False, patience=30, state=this_host().state)
    with database.writing() as connection:
        migrations.upgrade(connection, "0003")
        connection.execute(schema.meta.insert().values(name="ledger_id", value="ab" * 16))
    database.dispose()
    yield address
    server.execute("DROP DATABASE older WITH (FORCE)")


def test_only_its_owner_upgrades_a_server(older, tmp_path):
    """Stations refuse an older schema; `migrate` writes a backup of it first, and the ledger goes on."""
    for create in (False, True):
        assert cause_of(Ledger.open, older, create=create) == "ledger-older"
    backup = tmp_path / "before.db"
    assert migrate(older, backup)
    assert not migrate(older, tmp_path / "again.db")
    assert not (tmp_path / "again.db").exists()
    with closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0003",)
    for place in (backup, older):
        with Ledger.open(place, create=False) as ledger:
            assert ledger.id == "ab" * 16
            assert ledger.check() == ()
    with Ledger.open(older, create=False) as ledger:
        assert ledger.pool_standing().unclaimed
        ledger.adopt(AdoptionReason.ONLY_COPY, station=STATION, ts=now())
        make(ledger)
        assert claim(ledger, 1).identity.serial == "LMP-000001"
        assert ledger.check() == ()


_AS_OF_0005 = """
DROP INDEX ix_identity_handover;
ALTER TABLE identity DROP CONSTRAINT ck_identity_state, DROP CONSTRAINT ck_identity_bound,
    DROP CONSTRAINT ck_identity_free, DROP COLUMN handover;
ALTER TABLE identity
    ADD CONSTRAINT ck_identity_state
        CHECK (state IN ('generated', 'claimed', 'flashed', 'verified', 'failed', 'void', 'quarantined')),
    ADD CONSTRAINT ck_identity_bound CHECK (state IN ('generated', 'quarantined', 'void') OR mac IS NOT NULL),
    ADD CONSTRAINT ck_identity_free CHECK (state NOT IN ('generated', 'quarantined') OR mac IS NULL);
ALTER TABLE chain DROP COLUMN ledger;
DROP INDEX ix_identity_doubt;
ALTER TABLE identity DROP COLUMN sent_count, DROP COLUMN sent_ts, DROP COLUMN printed_count, DROP COLUMN printed_ts,
    DROP COLUMN scanned_count, DROP COLUMN scanned_ts, DROP COLUMN doubt_ts;
UPDATE alembic_version SET version_num = '0005'
"""


def test_a_ledger_in_use_is_upgraded(server, databases, tmp_path):
    """A ledger of revision 0005 on a server keeps its units; its identities can be handed over after `migrate`."""
    address = databases()
    with Ledger.open(address, create=True) as ledger:
        make(ledger)
        claim(ledger, 1)
    server.execute(_AS_OF_0005, address.partition("?")[0].rpartition("/")[2])
    assert cause_of(Ledger.open, address, create=False) == "ledger-older"
    assert migrate(address, tmp_path / "before.db")
    terms = Terms("factory", "print", "age1", "pem", "2099-01-01T00:00:00.000Z")
    for place in (tmp_path / "before.db", address):
        with Ledger.open(place, create=False) as ledger:
            assert ledger.identity_by_serial("LMP-000001").state is State.CLAIMED
            assert ledger.check() == ()
    with Ledger.open(address, create=False) as ledger:
        ledger.exchange.hand_over("lamp-0001", 2, terms, station=STATION, ts=now(), write=lambda *_: None)
        assert claim(ledger, 2).identity.serial == "LMP-000004"
        assert ledger.check() == ()
    with beneath(address) as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []


def test_a_newer_schema(server, databases):
    """A schema that this version does not know is left alone, by stations and by `migrate`."""
    address = databases()
    server.execute("UPDATE alembic_version SET version_num = '9999'", address.partition("?")[0].rpartition("/")[2])
    assert cause_of(Ledger.open, address, create=False) == "ledger-newer"
    assert cause_of(migrate, address, None) == "ledger-newer"
