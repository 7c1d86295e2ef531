"""What a station has for when the server of its shared ledger is away, and how that is brought to the server again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from rmfab.ledger.events import timestamp
from rmfab.ledger.states import State
from rmfab.line.bound_boards import BoardMemory
from rmfab.line.offline import leased_batches
from rmfab.line.spool import Spool
from rmfab.line.stop_note import StopNote

if TYPE_CHECKING:
    from rmfab.ledger.merge import Merged
    from rmfab.ledger.store import Ledger


@dataclass(frozen=True)
class Settled:
    """What was brought to the server: the lease as it was *merged*, and the spool. *misfits*: why events of the spool
    did not fit their units."""

    merged: Merged
    misfits: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the operator should read: others have worked on the same units meanwhile."""
        kept = (f"{serial}: the shared ledger has worked on it since" for serial in self.merged.kept)
        return tuple(f"recorded, but it changes nothing: {why}" for why in (*self.misfits, *kept))


@dataclass(frozen=True)
class Stock:
    """What a station has for when the server is away: the ledger of its *lease*, the *boards* that it knows to be
    bound, the *spool*, and the note of why it must *stop*. *station* is its name, *now* the clock."""

    lease: Ledger
    boards: BoardMemory
    spool: Spool
    stop: StopNote
    station: str
    now: Callable[[], datetime]

    def settle(self, shared: Ledger) -> Settled:
        """Send what waits to *shared*: first the spool, then the lease.

        Killed anywhere, the next call completes it. Raise IntegrityError, with nothing of the lease merged, if it
        contradicts *shared*; LedgerError if the server is away.
        """
        from rmfab.exchange.lease_return import merge_lease

        misfits: list[str] = []
        for entry in self.spool.entries():
            misfits += shared.replay(entry.station, entry.events, entry.after)
            self.spool.remove([entry])
        merged = merge_lease(shared, self.lease, station=self.station, ts=timestamp(self.now()))
        return Settled(merged, tuple(misfits))

    def look(self, shared: Ledger) -> None:
        """Ask *shared* which boards are bound, and which units of the lease it has otherwise."""
        names = leased_batches(self.lease.batches(), None)
        units = {one.name: one for name in names for one in self.lease.identities(name) if one.mac is not None}
        there = shared.standings(units)
        otherwise = []
        for name, unit in units.items():
            known = there.get(name)
            out = known is not None and known.state is State.HANDED_OVER  # not merged yet
            if not out and (known is None or replace(known, handover=None) != replace(unit.standing, handover=None)):
                otherwise.append(name)
        self.boards.refresh(shared.bound_boards(), otherwise)
