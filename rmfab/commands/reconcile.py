"""`rmfab reconcile`: compare boards with the ledger after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import FILE, baud_option, ports_option

if TYPE_CHECKING:
    from rmfab.operations.reconcile import Reconciliation


@click.command("reconcile", cls=Leaf)
@ports_option
@baud_option
@click.option("--release", type=FILE, help="Release that says where the factory partition is (default: product.toml).")
@click.option("--apply", is_flag=True, help="Record what was found, and void claims that were never written.")
@click.option("--yes", is_flag=True, help="Do not ask; required with --apply without a terminal.")
def command(release: Path | None, **options: Any) -> None:
    """Compare boards with the ledger after an interruption.

    Reads each board, writes nothing to it, and prints what to do: resume (run it), release (void its claim, which was
    never written, then run it), quarantine (set it aside: its identity may be on two boards), or in order. Then lists
    the units that are claimed or flashed but not verified and whose boards are not here. Changes nothing without
    --apply. Exits with code 5 if a board must be set aside.

    \b
    rmfab reconcile                        the boards on all slots of station.toml
    rmfab reconcile --port /dev/ttyUSB0 --apply
    """
    from rmfab.operations.reconcile import ReconcileRequest, reconcile

    done = reconcile(terminal.workspace(), ReconcileRequest(release=release, **options), terminal.TERMINAL)
    if terminal.json_wanted():
        terminal.document(_as_json(done))
    else:
        _show(done)
    if done.refusal is not None:
        raise done.refusal


def _show(done: Reconciliation) -> None:
    from rmfab.ledger.reconciliation import advice_without_board

    if done.boards:
        head = ("slot", "board", "serial", "action", "finding")
        terminal.table(
            head, [(b.slot, b.mac, b.verdict.serial, b.verdict.action, b.verdict.reason) for b in done.boards]
        )
        for hint in dict.fromkeys(f"{b.slot}: {b.verdict.hint}" for b in done.boards if b.verdict.hint):
            terminal.say(hint)
    for slot, error in done.unread:
        if error is not done.refusal:
            terminal.warn(f"{slot}: not read: {error.what}")
    if done.elsewhere:
        terminal.table(
            ("board", "serial", "state", "since"),
            [
                (one.mac, one.serial, one.state, one.standing.flashed_ts or one.standing.claimed_ts)
                for one in done.elsewhere
            ],
        )
        for hint in dict.fromkeys(f"{one.state}: {advice_without_board(one)}" for one in done.elsewhere):
            terminal.say(hint)
    if not done.boards and not done.elsewhere:
        terminal.say("no board was read, and no unit is claimed or flashed without being verified")


def _as_json(done: Reconciliation) -> dict[str, Any]:
    from rmfab.ledger.reconciliation import advice_without_board

    return {
        "boards": [
            {
                "slot": board.slot,
                "mac": board.mac,
                "serial": board.verdict.serial,
                "action": board.verdict.action.value,
                "finding": board.verdict.finding.value,
                "reason": board.verdict.reason,
                "hint": board.verdict.hint or None,
                "carries": list(board.carried),
            }
            for board in done.boards
        ],
        "unread": [{"slot": slot, "class": error.cause, "reason": error.what} for slot, error in done.unread],
        "elsewhere": [
            {
                "mac": one.mac,
                "serial": one.serial,
                "state": one.state.value,
                "claimed": one.standing.claimed_ts,
                "flashed": one.standing.flashed_ts,
                "hint": advice_without_board(one),
            }
            for one in done.elsewhere
        ],
        "applied": done.applied,
    }
