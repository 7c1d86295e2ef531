"""The units that were flashed with a release, as table rows and as JSON."""

from __future__ import annotations

from typing import Any

from rmfab.ledger.releases import FlashedUnit

HEAD = ("serial", "board", "node id", "state", "flashed", "station", "outcome", "release", "")


def as_row(unit: FlashedUnit) -> tuple[object, ...]:
    """Return one line of `rmfab trace --release`."""
    identity, event = unit.identity, unit.event.event
    outcome = event.outcome.value if event.outcome else ""
    version = event.release["version"] if event.release else ""
    replaced = "replaced since" if unit.replaced else ""
    return (
        identity.serial,
        event.mac or "",
        identity.node_id or "",
        identity.state.value,
        event.ts,
        unit.event.station,
        outcome,
        version,
        replaced,
    )


def as_json(unit: FlashedUnit) -> dict[str, Any]:
    """Return the same unit as JSON values."""
    identity, event = unit.identity, unit.event.event
    return {
        "serial": identity.serial,
        "node_id": identity.node_id,
        "mac": event.mac,
        "batch": identity.batch,
        "state": identity.state.value,
        "flashed": event.ts,
        "station": unit.event.station,
        "outcome": event.outcome.value if event.outcome else None,
        "release": event.release,
        "replaced": unit.replaced,
    }
