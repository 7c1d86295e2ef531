"""What the ledger knows about a unit, for its label."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rmfab.label.content import UnitFacts
from rmfab.ledger.events import StoredEvent
from rmfab.ledger.records import LedgerIdentity


def facts_of(identity: LedgerIdentity, history: Iterable[StoredEvent] = (), slot: str = "") -> UnitFacts:
    """Return the facts about *identity*. *history* are its events: without them the release is unknown.

    The date is the day on which the unit was verified, in the time zone of this host.
    """
    verified = identity.standing.verified_ts
    return UnitFacts(
        mac=(identity.mac or "").upper(),
        batch=identity.batch,
        release=_release(history),
        date=datetime.fromisoformat(verified).astimezone().date().isoformat() if verified else "",
        slot=slot,
    )


def _release(history: Iterable[StoredEvent]) -> str:
    """Return the version of the last release that a step wrote, empty if there is none."""
    named = [stored.event.release for stored in history if stored.event.release is not None]
    return str(named[-1]["version"]) if named else ""
