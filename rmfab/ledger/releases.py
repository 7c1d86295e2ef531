"""Accepted releases and trust files of a product, and the units that were flashed with a release.

All are read from the events. An event of kind `release` contains product, digest, seq and signers; one of kind `trust`
product, version and fingerprint; one of a step `flash` digest and signers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from rmfab.errors import InputError
from rmfab.ledger.chains import append
from rmfab.ledger.events import Event, EventKind, StoredEvent
from rmfab.ledger.queries import PAGE, identities_query, identity_value
from rmfab.ledger.questions import last_accepted
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.sql import schema
from rmfab.ledger.sql.asking import asking
from rmfab.ledger.stored_events import stored

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FlashedUnit:
    """A unit and the last *event* that flashed the requested release.

    *replaced*: it was flashed with a different release since.
    """

    identity: LedgerIdentity
    event: StoredEvent
    replaced: bool


def accept(connection: Connection, ledger_id: str, station: str, event: Event, after: StoredEvent | None) -> bool:
    """Record an acceptance that was decided when *after* was the last one. Return False if one came in since."""
    if event.kind not in (EventKind.RELEASE, EventKind.TRUST):
        raise ValueError("accept() records only the acceptance of a release or a trust file")
    last = last_accepted(asking(connection), event.kind, event.details["product"])
    if (last and last.order) != (after and after.order):
        return False
    append(connection, ledger_id, station, [event])
    return True


def flashed_units(connection: Connection, digest: str) -> Iterator[FlashedUnit]:
    """Yield the units whose flash step contains *digest*, of a release or of a signer's key, in order of flashing.

    Raise InputError if *digest* is not 64 hex digits.
    """
    if not _HEX.fullmatch(digest):
        raise InputError(f'"{digest}" is not a digest', hint="give 64 hex digits or the bundle file")
    table = schema.event
    flashes = select(table.c.serial, func.max(table.c.id).label("last")).where(table.c.step == "flash")
    got = flashes.where(table.c.details.contains(f'"{digest}"')).group_by(table.c.serial).subquery("got")
    newest = flashes.group_by(table.c.serial).subquery("newest")
    query = (
        select(table, newest.c.last.label("newest"))
        .join(got, got.c.last == table.c.id)
        .join(newest, newest.c.serial == table.c.serial)
        .order_by(table.c.id)
    )
    with connection.execute(query.execution_options(yield_per=PAGE)) as found:
        for rows in found.partitions():
            units = _identities(connection, [row.serial for row in rows])
            for row in rows:
                if row.serial in units:
                    yield FlashedUnit(units[row.serial], stored(row._mapping), row.newest != row.id)


def _identities(connection: Connection, serials: list[str]) -> dict[str, LedgerIdentity]:
    query = identities_query().where(schema.identity.c.serial.in_(serials))
    return {one.name: one for row in connection.execute(query) for one in [identity_value(row._mapping)]}
