"""The file of a return: what became of the identities of an owner, signed by the station that returns.

    return.json     the envelope with the document         handover-00001.json …   the envelopes of what was received
    events-00000 …  up to 1000 events each, compressed

Events stand in the order in which the factory's ledger stored them, without hashes: those follow from the heads of the
chains in the document. A block that expands beyond its limit is refused.
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
from rmfab.ledger.host_record import Head
from rmfab.ledger.merge import Receiver, Returned
from rmfab.ledger.receipts import Receipt, Return, Span
from rmfab.ledger.stored_events import FIELDS

BLOCK = 1000
"""Events per member."""
_MOST_OF_A_BLOCK = 1 << 25
_LONGEST_DETAILS = 1 << 20
_LONGEST_HEAD = 1 << 23
_LISTED = tuple(name for name in FIELDS if name != "details")


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
    """Yield the members with the events of *rows* (of the event table): name and bytes.

    The first line of a block is JSON, a list for each column; then follow the details, which are JSON already, one
    event on each line.
    """
    index = {span.chain: at for at, span in enumerate(spans)}
    remaining = iter(rows)
    number = 0
    while some := list(islice(remaining, BLOCK)):
        columns = [[index[row.chain] for row in some], [row.seq for row in some]]
        columns += [[getattr(row, name) for row in some] for name in _LISTED]
        head = json.dumps(columns, separators=(",", ":"), allow_nan=False)
        text = "\n".join([head, *(row.details for row in some)])
        yield f"events-{number:05d}", zlib.compress(text.encode("ascii"), 6)
        number += 1


def read_blocks(parcel: Parcel, spans: Sequence[Span]) -> Iterator[list[dict[str, Any]]]:
    """Yield the blocks of events of a verified return, as columns for `rmfab.ledger.merge`. Raise IntegrityError."""
    others = [name for name in parcel.names() if not name.startswith(("events-", "handover-"))]
    if others:
        raise parcel.altered(f"it contains {others[0]}")
    for name in parcel.names("events-"):
        data = parcel.read(name)
        with parcel.judged():
            block = list(_rows(_expanded(data), spans))
        yield block


def _expanded(data: bytes) -> str:
    expander = zlib.decompressobj()
    try:
        text = expander.decompress(data, _MOST_OF_A_BLOCK)
    except zlib.error as error:
        raise ValueError(f"a block of events is damaged: {error}") from None
    if not expander.eof or expander.unused_data:
        raise ValueError("a block of events is too large or incomplete")
    return text.decode("ascii")


def _rows(text: str, spans: Sequence[Span]) -> Iterator[dict[str, Any]]:
    """Yield the events of a block as columns. Raise ValueError or TypeError for one beyond the limits."""
    head, *details = text.split("\n")
    if len(head) > _LONGEST_HEAD or len(details) > BLOCK or any(len(one) > _LONGEST_DETAILS for one in details):
        raise ValueError("a block of events is too large")
    chains, numbers, *listed = _lists(parse_json(head), len(details))
    for name, values in zip(_LISTED, listed, strict=True):
        for value in values:
            if value is not None and (name != "seconds" or not isinstance(value, float)):
                fields.text(value)
    for chain, seq, told, *values in zip(chains, numbers, details, *listed, strict=True):
        columns = dict(zip(_LISTED, values, strict=True))
        columns |= {"details": told, "chain": spans[fields.number(chain)].chain, "seq": fields.number(seq)}
        yield columns


def _lists(value: object, length: int) -> list[list[Any]]:
    """Return *value* if it is the lists of the columns, each with *length* values. Raise ValueError."""
    if not isinstance(value, list) or len(value) != 2 + len(_LISTED):
        raise ValueError("a block of events has the wrong columns")
    if not all(isinstance(one, list) and len(one) == length for one in value):
        raise ValueError("a block of events has columns of different lengths")
    return value


def _head_json(head: Head) -> list[Any]:
    return [head.seq, head.hash]


def _head(value: Any) -> Head:
    seq, digest = value
    return Head(fields.number(seq), fields.digest(digest))
