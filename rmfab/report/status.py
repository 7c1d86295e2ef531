"""The status of batches: counts by state, as table rows and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rmfab.ledger.records import BatchCount
from rmfab.ledger.states import State


@dataclass(frozen=True)
class OutLease:
    """A lease of *station*: *out* identities of *batch*, leased at the ledger time *since*, of which no return is
    merged."""

    station: str
    batch: str
    out: int
    since: str

    def __str__(self) -> str:
        what = "identity" if self.out == 1 else "identities"
        return f"{self.out} {what} of {self.batch} leased to {self.station} since {self.since}"


_RARE = (State.QUARANTINED, State.HANDED_OVER)
_WORDS: Mapping[str, Callable[[BatchCount], int]] = {
    "sent": lambda count: count.sent,
    "printed": lambda count: count.printed,
    "scanned": lambda count: count.scanned,
    "in doubt": lambda count: count.doubtful,
}
"""What is known of the labels that printers printed."""


def as_table(counts: Sequence[BatchCount], ts: str) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Return the heads and rows of a table at the ledger time *ts*.

    It has no column for a rare state in which no identity is, or for what is known of no label. A batch that is open,
    or a handover that has expired, is marked: nothing can be claimed from it.
    """
    states = [state for state in State if state not in _RARE or any(count.states.get(state, 0) for count in counts)]
    words = [word for word, number in _WORDS.items() if any(number(count) for count in counts)]
    return ("batch", "product", "size", *(state.value for state in states), "labelled", *words), [
        _row(count, states, words, ts) for count in counts
    ]


def _row(count: BatchCount, states: Sequence[State], words: Sequence[str], ts: str) -> tuple[object, ...]:
    mark = " (expired)" if count.batch.expired(ts) else "" if count.batch.closed else " (open)"
    return (
        count.batch.name + mark,
        count.batch.product,
        count.batch.size,
        *(count.states.get(state, 0) for state in states),
        count.labelled,
        *(_WORDS[word](count) for word in words),
    )


def as_json(count: BatchCount, leases: Sequence[OutLease] = ()) -> dict[str, Any]:
    """Return the same counts as JSON values. `until`: when a handover expires here, None for a batch made here."""
    return {
        "batch": count.batch.name,
        "product": count.batch.product,
        "size": count.batch.size,
        "open": not count.batch.closed,
        "created": count.batch.created_ts,
        "until": count.batch.origin.until if count.batch.origin else None,
        "states": {state.value: count.states.get(state, 0) for state in State},
        "labelled": count.labelled,
        "sent": count.sent,
        "printed": count.printed,
        "scanned": count.scanned,
        "in_doubt": count.doubtful,
        "leases": [
            {"station": one.station, "out": one.out, "since": one.since}
            for one in leases
            if one.batch == count.batch.name
        ],
    }
