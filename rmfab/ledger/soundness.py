"""What a write checks of what it touches: an identity against its events, and a MAC against its claims.

So a write stops at damage that the database does not notice.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, bindparam, select

from rmfab.errors import RmfabError
from rmfab.ledger.chains import OWN
from rmfab.ledger.events import EventKind
from rmfab.ledger.queries import by_name, standing_rows, standing_value
from rmfab.ledger.sql import schema
from rmfab.ledger.sql.statement import Asked, Statement, Values, answered, constant, is_remote
from rmfab.ledger.standing import Standing, replay
from rmfab.ledger.states import State
from rmfab.ledger.stored_events import damaged, is_as_written, stored

_MOST = 200
"""The events of one unit that a write reads; one that came more often is for `rmfab ledger check`."""

_ROW = Statement(
    select(*standing_rows()).where(
        schema.identity.c.id
        == select(schema.identity.c.id).where(schema.identity.c.serial == bindparam("of_serial")).scalar_subquery()
    )
)
"""By the key of the table: SQLite may take what an index contains from there, and not read the row. PostgreSQL reads
the row to lock it."""
_EVENTS = Statement(
    select(schema.event)
    .where(schema.event.c.serial == bindparam("of_serial"), OWN)
    .order_by(schema.event.c.id.desc())
    .limit(constant(_MOST + 1))
)
_HAS_EVENTS = "has_events"
_LAST_CLAIM = Statement(
    select(schema.event.c.serial)
    .where(schema.event.c.mac == bindparam("of_mac"), schema.event.c.kind == constant(EventKind.CLAIM.value), OWN)
    .order_by(schema.event.c.id.desc())
    .limit(constant(1))
)


def refuse_damaged(connection: Connection, serial: str, standing: Standing) -> None:
    """Raise IntegrityError if *standing*, which an index led to, is not that of the row of *serial*, or if the events
    of the unit were changed, or do not add up to it."""
    if not is_remote(connection):
        own = _ROW.first(connection, {"of_serial": serial})
        if own is None or own["serial"] != serial or standing_value(own) != standing:
            raise damaged("the unit's record and its indexes contradict each other", serial)
    events, values = events_of(serial)
    rows = list(events.rows(connection, values))
    for row in rows:
        if not is_as_written(row):
            raise damaged("an event was changed after it was written", serial)
    if len(rows) > _MOST:
        return
    try:
        right = replay(stored(row).event for row in reversed(rows))
    except RmfabError as error:
        raise damaged(f"the events contradict each other: {error.what}", serial) from error
    if standing != right:
        raise damaged("the unit's record and its events contradict each other", serial)


def with_history(query: Select[Any]) -> Statement:
    """Return *query*, for one identity, with whether it has events."""
    unit, event = query.cte("unit"), schema.event
    has_events = select(event.c.id).where(event.c.serial == unit.c.serial, OWN).exists()
    return Statement(select(unit, has_events.label(_HAS_EVENTS)))


def note_history(connection: Connection, unit: Values) -> None:
    """Spare `refuse_damaged` a question about *unit*, a row of `with_history`, if it has no events."""
    if not unit[_HAS_EVENTS]:
        answered(connection, events_of(unit["serial"]), ())


def events_of(serial: str) -> Asked:
    """Return what `refuse_damaged` asks."""
    return _EVENTS, {"of_serial": serial}


def refuse_forgotten(connection: Connection, mac: str) -> None:
    """Raise IntegrityError if the board *mac*, for which no live unit was found, was claimed for one."""
    claimed = _LAST_CLAIM.first(connection, {"of_mac": mac})
    if claimed is None:
        return
    serial = claimed["serial"]
    last = by_name(connection, serial)
    if last is None or last.state is not State.VOID:
        raise damaged(f"the board was claimed for {serial}, but its record is missing or incomplete", mac)


def foreseen(mac: str) -> Asked:
    """Return what `refuse_forgotten` asks."""
    return _LAST_CLAIM, {"of_mac": mac}
