"""How many identities of each batch are in which state: one statement, in SQL that every engine understands.

It is text, so that a command that only counts need not import SQLAlchemy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rmfab.ledger.questions import batch_in
from rmfab.ledger.records import Batch, BatchCount, state_in
from rmfab.ledger.sql.glance import glance
from rmfab.ledger.states import State

COUNTS = """
SELECT batch.id, batch.name, batch.product, batch.policy, batch.size, batch.chunk_size, batch.first_n, batch.state,
       batch.digest, batch.created_ts, identity.state, COUNT(identity.id), COUNT(identity.labelled_ts),
       COUNT(identity.sent_ts), COUNT(identity.printed_ts), COUNT(identity.scanned_ts), COUNT(identity.doubt_ts)
FROM batch LEFT JOIN identity ON identity.batch_id = batch.id
WHERE CAST(:name AS TEXT) IS NULL OR batch.name = :name
GROUP BY batch.id, identity.state
ORDER BY batch.id
"""
"""One row per batch and state: the fields of `Batch` (its state for `closed`), the state of identities, how many there
are, and how many of them have a label, one that was sent, printed, scanned, or is in doubt.

A batch without identities has one row with the state NULL. *name* NULL selects all batches.
"""

_LABELS = ("labelled", "sent", "printed", "scanned", "doubtful")
"""The fields of `BatchCount` in the last columns of `COUNTS`."""


def counted(rows: Iterable[Sequence[Any]]) -> tuple[BatchCount, ...]:
    """Return the counts in the rows of `COUNTS`, one per batch. Raise IntegrityError if a row is invalid."""
    found: dict[Batch, BatchCount] = {}
    for row in rows:
        *columns, state, number = row[: -len(_LABELS)]
        batch = batch_in(columns)
        before = found.get(batch) or BatchCount(batch, dict.fromkeys(State, 0), 0)
        states = dict(before.states) if state is None else {**before.states, state_in(state, batch.name): number}
        labels = zip(_LABELS, row[-len(_LABELS) :], strict=True)
        found[batch] = BatchCount(batch, states, **{name: getattr(before, name) + more for name, more in labels})
    return tuple(found.values())


def count_at_once(location: Path | str, name: str | None) -> tuple[BatchCount, ...] | None:
    """Count the identities of batch *name*, or of each batch, in the ledger at *location*, without opening a `Ledger`.

    Return None if it must be opened: it cannot be read as it is, or has no such batch.
    """
    rows = glance(location, COUNTS, {"name": name})
    return None if rows is None or (name is not None and not rows) else counted(rows)
