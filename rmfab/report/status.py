"""The status of batches: counts by state, as table rows and as JSON."""

from __future__ import annotations

from typing import Any

from rmfab.ledger.records import BatchCount
from rmfab.ledger.states import State

HEAD = ("batch", "product", "size", *(state.value for state in State), "labelled")


def as_row(count: BatchCount) -> tuple[object, ...]:
    """Return one row of the table under `HEAD`."""
    name = count.batch.name if count.batch.closed else f"{count.batch.name} (open)"
    states = (count.states.get(state, 0) for state in State)
    return name, count.batch.product, count.batch.size, *states, count.labelled


def as_json(count: BatchCount) -> dict[str, Any]:
    """Return the same counts as JSON values."""
    return {
        "batch": count.batch.name,
        "product": count.batch.product,
        "size": count.batch.size,
        "open": not count.batch.closed,
        "created": count.batch.created_ts,
        "states": {state.value: count.states.get(state, 0) for state in State},
        "labelled": count.labelled,
    }
