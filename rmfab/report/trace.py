"""The trace of a unit: the public side of its identity and its events, as text lines and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rmfab.errors import one_line
from rmfab.ledger.events import Event, EventKind, StoredEvent
from rmfab.ledger.label_words import copies_in, word_in
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.succession import PREDECESSOR, SUCCESSOR
from rmfab.report import label_facts
from rmfab.report.cloud_record import cloud_records

_CONNECTED = frozenset({"config", "connected"})
"""Measurements that a step `cloud` only has if the unit was connected."""
_LONGEST = 4000
_OTHERS = ((PREDECESSOR, "replaces"), (SUCCESSOR, "replaced by"))
_IN_A_CLOUD = frozenset({EventKind.REGISTER, EventKind.LOOKUP})


def as_lines(identities: Sequence[LedgerIdentity], events: Sequence[StoredEvent]) -> Iterator[str]:
    """Yield the text lines of `rmfab trace`."""
    for identity in identities:
        yield f"{identity.serial}  {identity.state}  batch {identity.batch}"
        if identity.serial != identity.name:
            yield f"  pool name     {identity.name}"
        if identity.node_id:
            yield f"  node id       {identity.node_id}"
        if identity.record.certificate_id:
            yield f"  certificate   {identity.record.certificate_id}"
        yield f"  service name  {identity.record.service_name}"
        if identity.mac:
            yield f"  board         {identity.mac}"
        if connected := _first_connected(identity, events):
            yield f"  connected     first {connected}"
        yield from label_facts.as_lines(identity.standing)
        for record in cloud_records(events, identity.name):
            yield f"  registered    {record.registered or 'no'} in {record.cloud}"
            if record.connected:
                yield f"  connected     first {record.connected}"
    for stored in events:
        yield _line(stored)


def _first_connected(identity: LedgerIdentity, events: Sequence[StoredEvent]) -> str | None:
    """Return when a step `cloud` first saw the unit itself connected to its broker, None if that was never seen."""
    for event in (stored.event for stored in events):
        if event.serial == identity.name and event.step == "cloud" and _CONNECTED & event.details.keys():
            return event.ts
    return None


def _line(stored: StoredEvent) -> str:
    event = stored.event
    where = f"{stored.station}/{event.slot}" if event.slot else stored.station
    what = event.step or event.kind.value
    outcome = event.outcome.value if event.outcome else _word(event)
    seconds = f"{event.seconds:.1f}s" if event.seconds is not None else ""
    reason = f"({': '.join(filter(None, (event.cause, one_line(event.reason, _LONGEST))))})" if event.reason else ""
    log = f"log {event.details['log']}" if event.kind is EventKind.UNIT and event.details.get("log") else ""
    if log and event.details.get("log_missing"):
        log += " (not here)"
    release = "" if event.release is None else _release(event.release)
    other = " ".join(f"{word} {event.details[key]}" for key, word in _OTHERS if key in event.details)
    place = f"in {event.details.get('cloud')}" if event.kind in _IN_A_CLOUD else _printer(event)
    parts = (event.ts, f"{what:<9}", f"{outcome:<7}", f"{seconds:>6}", where, place, other, reason, release, log)
    return "  ".join(part for part in parts if part).rstrip()


def _word(event: Event) -> str:
    """Return what became known of a label, empty for any other event."""
    return (word_in(event.details) or "") if event.kind is EventKind.LABEL else ""


def _printer(event: Event) -> str:
    """Return which printer got a label, how many copies, and whether a person looked; empty for any other event."""
    printer = event.details.get("printer") if event.kind is EventKind.LABEL else None
    copies = copies_in(event.details)
    where = "" if not isinstance(printer, str) else f"{printer} x{copies}" if copies > 1 else printer
    return f"{where}  (seen by the operator)".strip() if event.details.get("by") == "operator" else where


def _release(named: Mapping[str, Any]) -> str:
    signers = ", ".join(one["name"] for one in named["signers"])
    return f"release {named['version']} ({named['digest'][:16]}…)" + (f", signed by {signers}" if signers else "")


def as_json(identities: Sequence[LedgerIdentity], events: Sequence[StoredEvent]) -> dict[str, Any]:
    """Return the same trace as JSON values, without anything sealed."""
    serials = {identity.name: identity.serial for identity in identities}
    return {
        "identities": [_identity(identity, events) for identity in identities],
        "events": [_event(one, serials) for one in events],
    }


def _identity(identity: LedgerIdentity, events: Sequence[StoredEvent]) -> dict[str, Any]:
    standing = identity.standing
    return {
        "serial": None if identity.unnamed else identity.serial,
        "name": identity.name,
        "node_id": identity.node_id,
        "service_name": identity.record.service_name,
        "certificate_serial": identity.record.certificate_serial,
        "certificate_id": identity.record.certificate_id,
        "batch": identity.batch,
        "product": identity.product,
        "state": standing.state.value,
        "mac": standing.mac,
        "claims": standing.attempts,
        "flashed": standing.flashed_ts,
        "verified": standing.verified_ts,
        "labelled": standing.labelled_count,
        "labels": label_facts.as_json(standing),
        "first_connected": _first_connected(identity, events),
        "clouds": [asdict(record) for record in cloud_records(events, identity.name)],
    }


def _event(stored: StoredEvent, serials: Mapping[str, str]) -> dict[str, Any]:
    event = stored.event
    return {
        "ts": event.ts,
        "station": stored.station,
        "slot": event.slot,
        "kind": event.kind.value,
        "serial": serials.get(event.serial or "", event.serial),
        "mac": event.mac,
        "step": event.step,
        "outcome": event.outcome.value if event.outcome else None,
        "state": event.state.value if event.state else None,
        "class": event.cause,
        "reason": event.reason,
        "seconds": event.seconds,
        "details": dict(event.details),
    }
