"""`rmfab handover`: hand identities over to a factory, list what is out, or declare it lost."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import FILE, force_option

if TYPE_CHECKING:
    from rmfab.ledger.handovers import Handover


@click.command("handover", cls=Leaf)
@click.argument("batch", required=False)
@click.option("--count", type=click.IntRange(1), help="Number of identities (default: all that are free).")
@click.option("--to", "station", metavar="CARD", help="Card file of the factory's station.")
@click.option("-o", "--output", type=FILE, metavar="FILE", help="The file to write.")
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Last day on which boards get these identities (default: in 90 days).",
)
@click.option("--release", type=FILE, metavar="FILE", help="Also include this release bundle.")
@click.option("--fingerprint", metavar="F", help="Fingerprint of the card, for the first handover to it.")
@click.option(
    "--again", type=click.IntRange(1), metavar="N", help="Write the file of handover N again, for the same card."
)
@click.option("--lost", type=click.IntRange(1), metavar="N", help="Permanently void what is still out of handover N.")
@click.option("--reason", help="Reason for --lost; recorded in the ledger.")
@click.option("--yes", is_flag=True, help="With --lost: do not ask; required without a terminal.")
@force_option
def command(
    batch: str | None,
    count: int | None,
    station: str | None,
    output: Path | None,
    until: datetime | None,
    release: Path | None,
    fingerprint: str | None,
    again: int | None,
    lost: int | None,
    reason: str | None,
    yes: bool,
    force: bool,
) -> None:
    """Hand identities of BATCH over to a factory, in a file that only its station can open.

    They leave the pool: no board gets them here any more. What the factory made of them comes back with `rmfab merge`.
    Without BATCH, list all handovers.

    \b
    rmfab handover lamp-0042 --count 500 --to factory.card -o lamp-0042.handover
    """
    from rmfab.errors import UsageError
    from rmfab.operations.hand_over import HandoverRequest, hand_over, lose_handover, owner_fingerprint

    workspace = terminal.workspace()
    if lost is not None:
        if batch is not None or again is not None or reason is None:
            raise UsageError("--lost N needs --reason TEXT, and no batch")
        voided = lose_handover(workspace, lost, reason, terminal.TERMINAL, yes=yes)
        terminal.show({"handover": lost, "void": voided}, None)
        return
    if batch is None and again is None:
        _list(workspace.ledger.exchange.handovers())
        return
    if station is None or output is None:
        raise UsageError("a handover needs --to CARD and -o FILE")
    end = None if until is None else until.replace(hour=23, minute=59, second=59, tzinfo=UTC)
    request = HandoverRequest(station, output, batch, count, end, release, fingerprint, again)
    given = hand_over(workspace, request, terminal.TERMINAL, force=force)
    terminal.show(_document(given, given.count) | {"owner": owner_fingerprint(workspace)}, None)


def _list(handovers: tuple[tuple[Handover, int], ...]) -> None:
    if terminal.json_wanted():
        terminal.document([_document(one, out) for one, out in handovers])
        return
    if not handovers:
        terminal.TERMINAL.say("nothing was handed over yet")
        return
    rows: list[tuple[object, ...]] = [
        (one.number, one.batch, one.count, out, one.terms.name, _until(one) or "", _standing(one))
        for one, out in handovers
    ]
    terminal.table(("number", "batch", "count", "out", "station", "until", "standing"), rows)


def _standing(one: Handover) -> str:
    if one.lease is not None and not one.lost:
        return "leased"
    return "lost" if one.lost else "handed over" if one.receiver is None else "received"


def _until(one: Handover) -> str | None:
    """Return the last day of a handover; a lease has none."""
    return None if one.lease is not None else one.terms.until[:10]


def _document(one: Handover, out: int) -> dict[str, object]:
    until = None if one.lease is not None else one.terms.until
    station = {"station": one.terms.name, "card": one.terms.fingerprint, "until": until, "since": one.ts}
    numbers = {"handover": one.number, "batch": one.batch, "count": one.count, "out": out}
    return numbers | station | {"standing": _standing(one)}
