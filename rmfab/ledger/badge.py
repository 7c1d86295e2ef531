"""Who works at a station: a name that every event gets in its details, under `operator`.

It is a pseudonym: whatever the people of a factory call themselves here, such as the number on a badge.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rmfab.errors import InputError
from rmfab.ledger.events import Event

if TYPE_CHECKING:
    from sqlalchemy import Connection

LONGEST = 40
"""Shorter than a digest: a search for one in the details of events must not find a name."""
_KEY = "rmfab_operator"
DETAIL = "operator"


@dataclass
class Badge:
    """The *name* of who works here now, None if that is not known. All threads of a process share one."""

    name: str | None = None

    def pass_to(self, name: str) -> None:
        """Let the next events be those of *name*. Raise InputError if it is not a name."""
        wrong = bad_name(name)
        if wrong is not None:
            raise InputError(f"not the name of an operator: {wrong}", hint="use a short name or number, such as op-7")
        self.name = name


def bad_name(name: str) -> str | None:
    """Return why *name* cannot be the name of an operator, None if it can."""
    if not name.strip() or name != name.strip():
        return "it is empty, or begins or ends with a blank"
    if len(name) > LONGEST:
        return f"it is longer than {LONGEST} characters"
    if any(unicodedata.category(letter)[0] in "CZ" and letter != " " for letter in name):
        return "it contains invisible characters"
    return None


def wear(connection: Connection, badge: Badge) -> None:
    """Note who makes the changes of the transaction of *connection*."""
    connection.info[_KEY] = badge.name


def signed(event: Event, name: str | None) -> Event:
    """Return *event* as one of *name*, unless it already has a name: it happened before, and is recorded now."""
    if name is None or DETAIL in event.details:
        return event
    return replace(event, details={**event.details, DETAIL: name})


def worn(connection: Connection) -> str | None:
    """Return who makes the changes of this transaction."""
    name: str | None = connection.info.get(_KEY)
    return name
