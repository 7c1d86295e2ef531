"""The file of a return: what became of the identities of an owner, signed by the station that returns.

    return.json     the envelope with the document         handover-00001.json …   the envelopes of what was received
    events-00000 …  up to 1000 events each, compressed

Events are rows of JSON in the order in which the factory's ledger stored them, without hashes: those follow from the
heads of the chains in the document. A block that expands beyond its limit is refused.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from rmfab.exchange import fields
from rmfab.exchange.parcel import Parcel
from rmfab.json_text import parse_json
from rmfab.ledger.chains import EVENT_FIELDS
from rmfab.ledger.host_record import Head
from rmfab.ledger.merge import Receiver, Returned
from rmfab.ledger.receipts import Receipt, Return, Span

BLOCK = 1000
"""Events per member."""
_MOST_OF_A_BLOCK = 1 << 25
_LONGEST_DETAILS = 1 << 20


@dataclass(frozen=True)
class ReturnDocument:
    """What the factory signs: *told* for the merge; for people *station*, *made*, how many identities are given back
    (*unused*), and how many of each handover are in which state (*states*)."""

    told: Returned
    station: str
    made: str
    unused: int
    states: Mapping[str, Mapping[str, int]]


def document_of(ledger: str, station: str, made: Return, received: Sequence[Receipt]) -> dict[str, Any]:
    """Return the document of the return *made* of *ledger*, which received *received*."""
    return {
        "pool": received[0].origin.pool,
        "ledger": ledger,
        "number": made.number,
        "made": made.ts,
        "holder": made.holder,
        "station": station,
        "unused": made.unused,
        "states": {number: dict(states) for number, states in made.states.items()},
        "received": {
            str(one.origin.handover): {"holder": one.holder, "ts": one.ts}
            for one in received
            if str(one.origin.handover) in made.states
        },
        "spans": [
            {
                "chain": one.chain,
                "station": one.station,
                "before": _head_json(one.before),
                "after": _head_json(one.after),
            }
            for one in made.spans
        ],
    }


def read_document(value: Mapping[str, Any], payload: bytes) -> ReturnDocument:
    """Return the document *value* of a return with this signed *payload*. Raise ValueError, KeyError or TypeError."""
    received = {
        int(number): Receiver(
            fields.ledger_id(value["ledger"]), fields.ledger_id(one["holder"]), fields.time(one["ts"])
        )
        for number, one in value["received"].items()
    }
    spans = tuple(
        Span(fields.ledger_id(one["chain"]), fields.text(one["station"]), _head(one["before"]), _head(one["after"]))
        for one in value["spans"]
    )
    if len({one.chain for one in spans}) < len(spans) or not received:
        raise ValueError("a chain occurs twice, or no handover is named")
    told = Returned(
        fields.ledger_id(value["pool"]),
        fields.ledger_id(value["ledger"]),
        fields.number(value["number"]),
        hashlib.sha256(payload).hexdigest(),
        received,
        spans,
    )
    if told.number < 1 or any(one.after.seq <= one.before.seq for one in spans):
        raise ValueError("a number is out of range")
    states = {
        fields.text(number): {fields.text(state): fields.number(count) for state, count in counts.items()}
        for number, counts in value["states"].items()
    }
    return ReturnDocument(
        told, fields.text(value["station"]), fields.time(value["made"]), fields.number(value["unused"]), states
    )


def envelope_name(handover: int) -> str:
    """Return the name of the member with the envelope of *handover*."""
    return f"handover-{handover:05d}.json"


def event_blocks(rows: Iterable[Any], spans: Sequence[Span]) -> Iterator[tuple[str, bytes]]:
    """Yield the members with the events of *rows* (of the event table): name and bytes."""
    index = {span.chain: at for at, span in enumerate(spans)}
    remaining = iter(rows)
    number = 0
    while some := list(islice(remaining, BLOCK)):
        events = [[index[row.chain], row.seq, *(getattr(row, name) for name in EVENT_FIELDS)] for row in some]
        data = json.dumps(events, separators=(",", ":"), allow_nan=False).encode("ascii")
        yield f"events-{number:05d}", zlib.compress(data, 6)
        number += 1


def read_blocks(parcel: Parcel, spans: Sequence[Span]) -> Iterator[list[dict[str, Any]]]:
    """Yield the blocks of events of a verified return, as columns for `rmfab.ledger.merge`. Raise IntegrityError."""
    others = [name for name in parcel.names() if not name.startswith(("events-", "handover-"))]
    if others:
        raise parcel.altered(f"it contains {others[0]}")
    for name in parcel.names("events-"):
        data = parcel.read(name)
        with parcel.judged():
            block = [_columns(row, spans) for row in _rows(data)]
        yield block


def _rows(data: bytes) -> list[Any]:
    expander = zlib.decompressobj()
    try:
        text = expander.decompress(data, _MOST_OF_A_BLOCK)
    except zlib.error as error:
        raise ValueError(f"a block of events is damaged: {error}") from None
    if not expander.eof or expander.unused_data:
        raise ValueError("a block of events is too large or incomplete")
    rows = parse_json(text)
    if not isinstance(rows, list) or len(rows) > BLOCK:
        raise ValueError("a block of events is not a list")
    return rows


def _columns(row: Any, spans: Sequence[Span]) -> dict[str, Any]:
    """Return a row of a block as columns. Raise ValueError for one beyond the limits."""
    at, seq, *values = row
    columns = dict(zip(EVENT_FIELDS, values, strict=True))
    for name, value in columns.items():
        if value is not None and name not in ("seconds", "details"):
            fields.text(value)
    if not isinstance(columns["seconds"], float | None):
        raise TypeError("the seconds of an event are not a number")
    if not isinstance(parse_json(fields.text(columns["details"], _LONGEST_DETAILS)), dict):
        raise TypeError("the details of an event are not an object")
    return columns | {"chain": spans[fields.number(at)].chain, "seq": fields.number(seq)}


def _head_json(head: Head) -> list[Any]:
    return [head.seq, head.hash]


def _head(value: Any) -> Head:
    seq, digest = value
    return Head(fields.number(seq), fields.digest(digest))
