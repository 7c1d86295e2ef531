"""Errors of PostgreSQL as errors of rmfab, chosen by SQLSTATE (postgresql.org/docs/15/errcodes-appendix.html)."""

from __future__ import annotations

import psycopg

from rmfab.errors import IntegrityError, LedgerError, RmfabError, one_line
from rmfab.ledger.sql.outage import Away


class Conflict(IntegrityError):
    """Someone else was faster: nothing was written, and the same work may succeed when it is run again."""


_LOST = ("08", "57P01", "57P02", "57P03", "57P05", "53300", "25P03")
"""The connection failed (class 08), the server stopped it or is starting, has no connection left, or ended an idle
transaction; with no SQLSTATE, libpq noticed it."""
_AGAIN = ("23505", "40001", "40P01")
"""A unique key that someone else took meanwhile, a serialization failure, a deadlock."""
_EACH, _ONLY_READS = "connection to server", "session is read-only"
"""What libpq says of each server that it tried, and of one that does not let it write (fe-connect.c,
target_session_attrs). As long as a different one may come, such as a replica that takes over, the ledger is away."""
_READ_ONLY, _PRIMARY = "ledger-read-only", "name the primary server"
_CHECK = "list all problems with `rmfab ledger check`; `rmfab ledger rebuild` or a backup repairs them"
_CAUSES: tuple[tuple[str, str, str, str | None], ...] = (
    ("55P03", "ledger-locked", "a different transaction holds a lock of the ledger for too long", "retry"),
    ("57014", "ledger-locked", "the server ended a statement that took too long", "retry"),
    ("25006", _READ_ONLY, "this server is read-only: it is a replica", _PRIMARY),
    ("28", "ledger-denied", "the server does not let this user in", "check the user, and its password in PGPASSFILE"),
    ("42501", "ledger-denied", "this user may not do that", "ask the owner of the ledger for the rights of a station"),
    ("3D000", "ledger-missing", "there is no such database", "create it, then run `rmfab ledger init`"),
    ("53100", "ledger-full", "the server's disk is full; nothing was written", "free disk space there, then retry"),
    ("58", "ledger-io", "the server's disk reported an error; nothing was written", "check the server"),
    ("XX00", "ledger-corrupt", "the ledger's database is damaged", "restore it from a backup"),
    ("22012", "ledger-corrupt", "the ledger is damaged: a row that is to be changed is missing", _CHECK),  # `change`
    ("23", "ledger-constraint", "this violates a constraint of the ledger", None),
    ("P0001", "ledger-constraint", "this violates a constraint of the ledger", None),
)
_INTEGRITY = ("ledger-corrupt", "ledger-constraint")


def explain(error: BaseException | None, where: str) -> RmfabError:
    """Return the error to raise for *error* of psycopg or its connection to the server *where*."""
    text = one_line(" ".join(str(error).split()))
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    if state is None or state.startswith(_LOST):
        # Without a state, and not from the connection: an error of the driver itself, such as a value it cannot send.
        if _only_reads(str(error)):
            return LedgerError(
                "this server is read-only: it is a replica", where=where, hint=_PRIMARY, cause=_READ_ONLY
            )
        if state is not None or isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
            return away(text, where)
        return LedgerError(f"cannot use the ledger: {text}", where=where)
    if state in _AGAIN:
        return Conflict(f"this violates a constraint of the ledger ({text})", where=where, cause="ledger-constraint")
    for prefix, cause, what, hint in _CAUSES:
        if state.startswith(prefix):
            kind = IntegrityError if cause in _INTEGRITY else LedgerError
            return kind(f"{what} ({text})", where=where, hint=hint, cause=cause)
    return LedgerError(f"cannot use the ledger: {text} ({state})", where=where)


def _only_reads(text: str) -> bool:
    """Return whether every server that was tried answered, and lets nobody write."""
    return _ONLY_READS in text and text.count(_ONLY_READS) == text.count(_EACH)


def away(why: str, where: str) -> Away:
    """Return the error for a server that cannot be reached."""
    hint = "check the network and the server; nothing was written, so the command can be repeated"
    return Away(f"the ledger's server is away: {why}", where=where, hint=hint, cause="ledger-away")
