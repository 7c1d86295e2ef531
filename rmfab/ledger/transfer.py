"""The transfer of a ledger to a different place and engine: from a file to a server, or back, with every chain intact.

The pool moves along: the ledger that was copied gives no identities from then on, and its last event names the new one.
First the old one ends, then the new one begins. If the process ends in between, nobody gives identities, and the same
transfer, repeated, completes it. A transfer that was complete is not repeated, although its target may be empty again:
the new ledger may have given identities before it was lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Connection

from rmfab.errors import InputError, IntegrityError
from rmfab.ledger import chains, pool
from rmfab.ledger.host_record import Head, Hold, Holding, Unusable
from rmfab.ledger.inquiry import PATIENCE
from rmfab.ledger.pool_standing import AdoptionReason, standing
from rmfab.ledger.questions import lacking
from rmfab.ledger.sql.asking import asking
from rmfab.ledger.sql.copy_rows import copy_rows, is_unused
from rmfab.ledger.sql.database import Database
from rmfab.ledger.sql.open_database import open_database
from rmfab.ledger.store import Ledger


def transfer(source: Ledger, target: Path | str, *, station: str, ts: str) -> None:
    """Copy *source*, whose pool this host holds, to *target*: a new file, or a database without a ledger in use.

    Raise IntegrityError (cause `not-pool-holder`) if this host may not give identities from *source*, InputError if
    *target* contains a ledger, LedgerError.
    """
    database = open_database(target, create=True, patience=PATIENCE, state=source._host.state)
    try:
        database.upgrade(create=True)
        _Transfer(source, database, station, ts).run()
    finally:
        database.dispose()


class _Transfer:
    """One transfer of *source* to the database *target*."""

    def __init__(self, source: Ledger, target: Database, station: str, ts: str) -> None:
        self._source = source
        self._target = target
        self._station = station
        self._ts = ts

    def run(self) -> None:
        with self._source._holding() as hold:
            with self._target.writing() as new:
                if not is_unused(new):
                    raise InputError(
                        "there is a ledger already",
                        where=self._target.shown,
                        hint="name an empty place",
                        cause="exists",
                    )
                with self._source._database.writing() as old:  # committed before the new one
                    self._end(old, hold.read())
                    copy_rows(old, new)
                if self._target.server is not None:
                    self._target.server.continue_numbers(new)
                heads = self._begin(new, hold)
            hold.add(heads)  # from here on, the old ledger lacks what the record names: it is never copied again

    def _end(self, old: Connection, record: Holding | Unusable) -> None:
        """Let the old ledger end giving identities, unless it did so for this target before, and was interrupted."""
        now = standing(asking(old), record, self._source._host, self._source._place(old))
        if now.moved_to == self._target.shown:
            if not self._is_incomplete(old, record):
                raise self._complete()
            return
        if now.refusal is not None:
            raise now.refusal
        self._source._occupy(old, self._station)
        pool.move(old, self._source.id, self._station, self._ts, self._target.shown, copied=True)

    def _is_incomplete(self, old: Connection, record: Holding | Unusable) -> bool:
        """Return whether the new ledger, as far as this host knows, never began: it has given nothing yet."""
        if isinstance(record, Unusable) or not record.is_on(self._source._host):
            return False
        return lacking(asking(old), record.heads) is None

    def _complete(self) -> IntegrityError:
        to = self._target.shown
        return IntegrityError(
            f"this ledger was copied to {to} before, which may have given identities since: they would be given again",
            where=self._source.where,
            hint=f"work with {to}; if it is lost, restore a backup of it; if there is none, `rmfab ledger adopt` here "
            "(free identities go into quarantine), and copy it then",
            cause="not-pool-holder",
        )

    def _begin(self, new: Connection, hold: Hold) -> Mapping[str, Head]:
        """Let the new ledger begin; return its heads, for the record of this host once they are durable."""
        record = hold.read()
        server = self._target.server
        own = self._station if server is not None else None  # this host answers for all of a file, else for its part
        holding = pool.next_holding(new, record, self._source._host, AdoptionReason.MOVE, own)
        if server is not None:
            server.occupy(new, self._station)
        place = None if server is None else server.place(new)
        pool.adopt(new, self._source.id, self._station, self._ts, holding, AdoptionReason.MOVE, place)
        # First the record: if this ends in between, nobody gives identities, and the transfer can be repeated.
        hold.replace(holding)
        return chains.heads(new, station=own)
