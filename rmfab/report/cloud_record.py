"""What the events of a unit say about its clouds: since when each has it, and when the unit first connected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rmfab.ledger.events import EventKind, Outcome, StoredEvent


@dataclass(frozen=True)
class CloudRecord:
    """A unit in *cloud*: *registered* since, None if the cloud does not have it; *connected* first, None if never."""

    cloud: str
    registered: str | None = None
    connected: str | None = None


def cloud_records(events: Sequence[StoredEvent], name: str) -> tuple[CloudRecord, ...]:
    """Return a record per cloud of the identity *name*, in the order in which they appear in *events*."""
    records: dict[str, CloudRecord] = {}
    for event in (stored.event for stored in events):
        if event.serial != name or event.kind not in (EventKind.REGISTER, EventKind.LOOKUP):
            continue
        cloud = str(event.details.get("cloud"))
        record = records.get(cloud, CloudRecord(cloud))
        since = (record.registered or event.ts) if event.outcome is Outcome.PASS else None
        told = event.details.get("connected")
        connected = min((at for at in (record.connected, told) if isinstance(at, str)), default=None)
        records[cloud] = replace(record, registered=since, connected=connected)
    return tuple(records.values())
