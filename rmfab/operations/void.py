"""Void an identity: retire it for good."""

from __future__ import annotations

from rmfab.errors import InputError, UsageError
from rmfab.ledger.events import timestamp
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.states import State
from rmfab.operations.pool import hold_pool
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.workspace.workspace import Workspace


def void(
    workspace: Workspace, unit: str, reason: str, terminal: Terminal = UNATTENDED, *, force: bool = False
) -> LedgerIdentity:
    """Void the identity of *unit*, a serial or MAC, because of *reason*; return it.

    It is never used again, and its board may get a new one. If it is verified, or has a label and did not fail, ask on
    the terminal, unless *force*. Raise InputError if there is no such unit, or if it is not to be voided.
    """
    if not reason.strip():
        raise UsageError("--reason must not be empty")
    hold_pool(workspace, terminal)
    live = [one for one in workspace.ledger.find(unit) if one.state is not State.VOID]
    if not force:
        _confirm(live, terminal)
    station = workspace.station.name
    identity = workspace.ledger.void(unit, reason=reason, station=station, ts=timestamp(workspace.now()))
    if not live:
        terminal.say(f"{identity.serial} was already void ({identity.standing.reason})")
        return identity
    terminal.say(f"{identity.serial} is void")
    printed = identity.standing.labelled_count
    if printed:
        terminal.warn(f"its label was printed {'once' if printed == 1 else f'{printed} times'}: destroy it")
    return identity


def _confirm(live: list[LedgerIdentity], terminal: Terminal) -> None:
    """Raise InputError if the unit looks finished, and no one confirms that it is to be voided."""
    for one in live:
        labelled = one.standing.labelled_count > 0
        if one.state is State.FAILED or not (one.state is State.VERIFIED or labelled):
            continue
        known = " and ".join(["verified"] * (one.state is State.VERIFIED) + ["labelled"] * labelled)
        if not terminal.interactive:
            raise InputError(f"the unit is {known}", where=one.serial, hint="pass --force to void it anyway")
        if not terminal.confirm(f"{one.serial} is {known}; void it for good?"):
            raise InputError("nothing was changed", where=one.serial)
