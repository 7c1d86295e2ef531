"""Events as the ledger stores them: their columns, their hash, and back to values."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Protocol

from rmfab.errors import InputError, IntegrityError
from rmfab.ledger.events import Event, EventKind, Outcome, StoredEvent
from rmfab.ledger.states import State


class Columns(Protocol):
    """A row of a table by the names of its columns."""

    def __getitem__(self, name: str, /) -> Any:
        """Return the value in the column *name*."""


FIELDS = (
    "ts",
    "kind",
    "batch",
    "serial",
    "mac",
    "slot",
    "step",
    "outcome",
    "state",
    "cause",
    "reason",
    "seconds",
    "details",
)
"""The columns of an `Event`, named as its fields."""
CHAINED = ("station", "seq", *FIELDS)
"""The columns that a hash covers: all except the order and the hashes themselves."""


def canonical(value: object) -> str:
    """Return JSON with one spelling per value: sorted keys, no spaces, ASCII. Raise ValueError for NaN and infinity."""
    return _ENCODER.encode(value)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
"""Built once: building an encoder takes as long as writing an event."""


def chain_hash(prev_hash: str, columns: Columns) -> str:
    """Return the hash of an event with these *columns* (see `CHAINED`) after *prev_hash*."""
    return hashlib.sha256((prev_hash + canonical({name: columns[name] for name in CHAINED})).encode()).hexdigest()


def is_as_written(columns: Columns) -> bool:
    """Return whether the event with these *columns* has the hash that it was written with."""
    try:
        return bool(columns["hash"] == chain_hash(columns["prev_hash"], columns))
    except (TypeError, ValueError):  # no JSON: a value of a type or size that no event has
        return False


def damaged(what: str, where: str) -> IntegrityError:
    """Return the error of a ledger whose parts contradict each other."""
    hint = "list all problems with `rmfab ledger check`; `rmfab ledger rebuild` or a backup repairs them"
    return IntegrityError(f"the ledger is damaged: {what}", where=where, hint=hint, cause="ledger-corrupt")


def columns_of(event: Event) -> dict[str, Any]:
    """Return *event* as columns of the event table."""
    return {
        **vars(event),
        "kind": event.kind.value,
        "outcome": None if event.outcome is None else event.outcome.value,
        "state": None if event.state is None else event.state.value,
        "details": canonical(dict(event.details)),
    }


def stored(columns: Columns) -> StoredEvent:
    """Return the event in the *columns* of a row of the event table.

    Raise IntegrityError if the row was edited and is invalid.
    """
    try:
        event = event_in(columns)
    except (ValueError, InputError) as error:
        raise IntegrityError(
            "the event was changed after it was written",
            where=f"station {columns['station']}, event {columns['seq']}",
            hint="run `rmfab ledger check` to list all problems",
            cause="chain",
        ) from error
    return StoredEvent(columns["id"], columns["station"], columns["seq"], event)


def details_in(text: str) -> dict[str, Any]:
    """Return the details of an event, none if the row was edited and they are no object: `ledger check` finds it."""
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def event_in(columns: Columns) -> Event:
    """Return the event in *columns*. Raise ValueError or InputError if they are invalid."""
    values = {name: columns[name] for name in FIELDS}
    if not isinstance(values["details"], str):
        raise ValueError("its details are not a text")
    values["kind"] = EventKind(values["kind"])
    values["outcome"] = None if values["outcome"] is None else Outcome(values["outcome"])
    values["state"] = None if values["state"] is None else State(values["state"])
    try:
        values["details"] = json.loads(values["details"])
    except RecursionError as error:
        raise ValueError("its details are nested too deeply") from error
    return Event(**values)
