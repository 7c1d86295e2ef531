"""What PostgreSQL needs besides the common schema: events that cannot be changed, one order of texts, and rights.

Every statement may be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, Integer, String, Text, func, select, text
from sqlalchemy.dialects import postgresql

from rmfab.errors import InputError, LedgerError, one_line
from rmfab.ledger.sql import schema
from rmfab.ledger.sql.database import Damage, Weakness
from rmfab.ledger.sql.server_address import crosses_network

_APPEND_ONLY = (
    """CREATE OR REPLACE FUNCTION rmfab_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'events of the ledger are never changed or deleted'; END $$""",
    """CREATE OR REPLACE TRIGGER event_append_only BEFORE UPDATE OR DELETE ON event
FOR EACH ROW EXECUTE FUNCTION rmfab_append_only()""",
    """CREATE OR REPLACE TRIGGER event_no_truncate BEFORE TRUNCATE ON event
FOR EACH STATEMENT EXECUTE FUNCTION rmfab_append_only()""",
)
_OLDEST = 14
_TRIGGERS = ("event_append_only", "event_no_truncate")
_STANDING = schema.identity.columns.keys()[schema.identity.columns.keys().index("state") :]
"""The columns of an identity that change after it was made: those of `Standing`, which come last."""


def refuse_unfit(connection: Connection, where: str) -> None:
    """Raise LedgerError if the server is too old (CREATE OR REPLACE TRIGGER), or cannot store every text."""
    version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10000
    if version < _OLDEST:
        what = f"the server is PostgreSQL {version}; rmfab needs {_OLDEST} or newer"
        raise LedgerError(what, where=where, hint="use a newer server", cause="ledger-foreign")
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise LedgerError(
            f"the encoding of this database is {encoding}",
            where=where,
            hint="create it with `createdb --template template0 --encoding UTF8`",
            cause="ledger-foreign",
        )


def loosen(connection: Connection) -> None:
    """Let a migration change events."""
    for name in _TRIGGERS:
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name} ON event")


def complete(connection: Connection) -> None:
    """Add to the common schema what only PostgreSQL has."""
    for statement in _APPEND_ONLY:
        connection.exec_driver_sql(statement)
    _collate(connection)


def _collate(connection: Connection) -> None:
    """Order texts by their bytes, as SQLite does, whatever the collation of the database is."""
    query = "SELECT table_name, column_name FROM information_schema.columns WHERE collation_name = 'C'"
    right = {(row[0], row[1]) for row in connection.exec_driver_sql(query)}
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    for table in schema.metadata.sorted_tables:
        wrong = [column for column in table.columns if isinstance(column.type, (String, Text))]
        changes = ", ".join(
            f'ALTER COLUMN {column.name} TYPE {column.type.compile(dialect)} COLLATE "C"'
            for column in wrong
            if (table.name, column.name) not in right
        )
        if changes:
            connection.exec_driver_sql(f"ALTER TABLE {table.name} {changes}")


def continue_numbers(connection: Connection) -> None:
    """Let the numbers of new rows begin after the rows that were copied with theirs."""
    for table in schema.metadata.sorted_tables:
        (key,) = table.primary_key.columns
        if isinstance(key.type, Integer):
            last = connection.execute(select(func.max(key))).scalar_one()
            sequence = func.pg_get_serial_sequence(table.name, key.name)
            connection.execute(select(func.setval(sequence, last or 1, last is not None)))


def damage(connection: Connection) -> Iterator[Damage]:
    """Yield what is wrong with indexes, constraints and the triggers that keep events as they are."""
    query = "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE NOT i.indisvalid"
    for row in connection.exec_driver_sql(query):
        yield Damage(f"index {row[0]}", "is not valid")
    for row in connection.exec_driver_sql("SELECT conname FROM pg_constraint WHERE NOT convalidated"):
        yield Damage(f"constraint {row[0]}", "was never checked")
    triggers = text("SELECT tgname FROM pg_trigger WHERE tgrelid = 'event'::regclass AND tgenabled IN ('O', 'A')")
    active = set(connection.execute(triggers).scalars())
    for name in _TRIGGERS:
        if name not in active:
            yield Damage(f"trigger {name}", "is missing or switched off: events could be changed")


def weaknesses(connection: Connection) -> Iterator[Weakness]:
    """Yield what makes the server forget what it has confirmed, and what lets others listen."""
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        query = text("SELECT reset_val FROM pg_settings WHERE name = :name")  # a session may have its own value
        if connection.execute(query, {"name": name}).scalar_one() == "off":
            yield Weakness(
                f"{name} is off on the ledger's server: a power cut there may lose what it has confirmed",
                f"set {name} = on in postgresql.conf",
            )
    link = connection.connection.driver_connection
    options = {option.keyword.decode(): (option.val or b"").decode() for option in link.pgconn.info}  # type: ignore[union-attr]
    host, mode = options.get("host", ""), options.get("sslmode", "")
    if crosses_network(host) and mode != "verify-full":
        yield Weakness(
            f"the ledger goes over the network to {one_line(host)} with sslmode={mode or 'prefer'}: others may read or "
            "change it on its way",
            "add ?sslmode=verify-full&sslrootcert=FILE to the address",
        )


def grant(connection: Connection, stations: Sequence[str], readers: Sequence[str]) -> None:
    """Give the roles *stations* the rights of a station, and the roles *readers* those of reports.

    A station appends events and changes standings; it makes no batch, and deletes nothing. Raise LedgerError for a role
    that does not exist, InputError for the one that owns the ledger and would lose its rights.
    """
    _judge_roles(connection, (*stations, *readers))
    quote = connection.dialect.identifier_preparer.quote_identifier
    for role in map(quote, (*stations, *readers)):
        for table in ("alembic_version", *schema.metadata.tables):
            connection.exec_driver_sql(f"REVOKE ALL ON {table} FROM {role}")
            connection.exec_driver_sql(f"GRANT SELECT ON {table} TO {role}")
    for role in map(quote, stations):
        connection.exec_driver_sql(f"GRANT INSERT ON event, chain TO {role}")
        connection.exec_driver_sql(f"GRANT USAGE ON SEQUENCE event_id_seq TO {role}")
        connection.exec_driver_sql(f"GRANT UPDATE (last_seq, last_hash) ON chain TO {role}")
        connection.exec_driver_sql(f"GRANT UPDATE ({', '.join(_STANDING)}) ON identity TO {role}")


def _judge_roles(connection: Connection, roles: Sequence[str]) -> None:
    known = set(connection.exec_driver_sql("SELECT rolname FROM pg_roles").scalars())
    query = "SELECT tableowner FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'event'"
    owner = connection.exec_driver_sql(query).scalar_one()
    for role in roles:
        if role not in known:
            hint = f"its administrator makes it: `createuser {role}`"
            raise LedgerError("this server has no such role", where=role, hint=hint)
        if role == owner:
            raise InputError("this role owns the ledger", where=role, hint="name a role that only works with it")
