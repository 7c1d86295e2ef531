"""Return to the owner what became of the identities of a handover. The factory's side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rmfab.errors import UsageError
from rmfab.exchange.parcel import RETURN
from rmfab.exchange.pending import pending_parcel
from rmfab.exchange.return_file import document_of, envelope_name, event_blocks
from rmfab.ledger.events import timestamp
from rmfab.ledger.receipts import Return
from rmfab.operations.pool import hold_pool, refuse_lease
from rmfab.operations.terminal import UNATTENDED, Terminal, counted
from rmfab.workspace.workspace import Workspace


def give_back(
    workspace: Workspace,
    output: Path,
    terminal: Terminal = UNATTENDED,
    *,
    unused: bool = False,
    again: int | None = None,
    force: bool = False,
) -> Return:
    """Write the events since the last return to *output*, or those of return *again* once more; return what it says.

    *unused*: give the unused identities back; they cannot be used here any more. A file that could not be written
    leaves the ledger as it was. Raise InputError if nothing was received here.
    """
    if unused and again is not None:
        raise UsageError("--unused and --again exclude each other", hint="a return that was made does not change")
    refuse_lease(workspace)
    if again is None:
        hold_pool(workspace, terminal)
    ledger, station = workspace.ledger, workspace.station.name
    before = ledger.exchange.returns_made()
    with (
        pending_parcel(output, RETURN, workspace.signing_key, force=force) as parcel,
        parcel.recording(lambda: again is not None or ledger.exchange.returns_made() > before),
    ):

        def write(made: Return, rows: Iterator[Any]) -> None:
            for name, data in event_blocks(rows, made.spans):
                parcel.add(name, data)
            received = [one for one in ledger.exchange.receipts() if str(one.origin.handover) in made.states]
            for one in sorted(received, key=lambda one: one.origin.handover):
                parcel.add(envelope_name(one.origin.handover), one.envelope.encode("ascii"))
            document = document_of(ledger.id, station, made, received)
            parcel.complete(document, f"rmfab return --again {made.number} -o FILE")

        if again is not None:
            made = ledger.exchange.write_return(again, write)
        else:
            made = ledger.exchange.make_return(
                unused=unused, station=station, ts=timestamp(workspace.now()), write=write
            )
        parcel.publish()
    events = sum(span.after.seq - span.before.seq for span in made.spans)
    given = f", {counted(made.unused, 'unused identity', 'unused identities')} given back" if made.unused else ""
    terminal.say(f"{output}: return {made.number}, {counted(events, 'event')}{given}")
    return made
