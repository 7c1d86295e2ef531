"""Void identities: retire them for good."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import InputError, UsageError, one_line
from rmfab.ledger.events import timestamp
from rmfab.ledger.records import LedgerIdentity, refuse_handed_over
from rmfab.ledger.states import State
from rmfab.nvs.csv_dialect import Complaints
from rmfab.operations.pool import hold_pool
from rmfab.operations.reason import refuse_reason
from rmfab.operations.terminal import UNATTENDED, Terminal, counted
from rmfab.workspace.workspace import Workspace

_SHOWN = 20


@dataclass(frozen=True)
class UnitList:
    """A list of units: *data* is UTF-8 text with one per line, *name* its file."""

    name: str
    data: bytes

    def lines(self) -> list[tuple[int, str]]:
        """Return the units with the numbers of their lines. Raise InputError if it is not text, or names none."""
        try:
            text = self.data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise InputError("not a list of units: it is not UTF-8", where=self.name) from None
        lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        if not lines:
            raise InputError("the list names no unit", where=self.name, hint="write one serial or MAC per line")
        return lines


@dataclass(frozen=True)
class VoidRequest:
    """The identities of *units*, each a serial, node id or MAC, and of the list *listed* are voided for *reason*.

    *yes*: without a question. Raise UsageError unless the reason is one line of text and a unit is
    named.
    """

    units: tuple[str, ...]
    reason: str
    listed: UnitList | None = None
    yes: bool = False

    def __post_init__(self) -> None:
        refuse_reason(self.reason)
        if not self.units and self.listed is None:
            raise UsageError("missing a unit", hint="name serials or MACs, or a file of them with --file")


@dataclass(frozen=True)
class Voided:
    """An *identity* that is void now, as it was *before*."""

    identity: LedgerIdentity
    before: LedgerIdentity


def void(workspace: Workspace, request: VoidRequest, terminal: Terminal = UNATTENDED) -> tuple[Voided, ...]:
    """Void the identities of *request*, all in one transaction; return them, also those that were void before.

    They are never used again, and their boards may get new ones. Show what they are and ask on the terminal, unless
    *request* says yes. Raise InputError if a unit is unknown, or if nobody confirms it; then none is voided.
    """
    hold_pool(workspace, terminal)
    chosen = _chosen(request, workspace.ledger.named)
    live = [one for one in chosen if one.state is not State.VOID]
    for one in live:
        refuse_handed_over(one)  # before anyone is asked
    for one in chosen:
        if one.state is State.VOID:
            terminal.say(f"{one.serial} was already void ({one_line(one.standing.reason or '')})")
    if live:
        _confirm(live, request, terminal)
    gone = workspace.ledger.void(
        *(one.name for one in chosen),
        reason=request.reason,
        station=workspace.station.name,
        ts=timestamp(workspace.now()),
        seen={one.name: one.standing for one in live},
    )
    for one in live:
        terminal.say(f"{one.serial} is void")
        if printed := one.standing.labelled_count:
            terminal.warn(f"{one.serial}: its label was printed {_times(printed)}: destroy it")
        elif one.standing.doubt_ts is not None:
            terminal.warn(f"{one.serial}: a printer may have printed its label: look for it, and destroy it")
    return tuple(map(Voided, gone, chosen))


def _chosen(request: VoidRequest, named: Callable[[str], LedgerIdentity]) -> list[LedgerIdentity]:
    """Return the identities of *request*, each once. Raise ComplaintsError with file and line of each unknown one."""
    found = [named(unit) for unit in request.units]
    if request.listed is not None:
        complaints = Complaints(Path(request.listed.name))
        for line, unit in request.listed.lines():
            try:
                found.append(named(unit))
            except InputError as error:
                complaints.add(line, error.what, hint=error.hint)
        complaints.settle()
    return list({one.name: one for one in found}.values())


def _confirm(live: list[LedgerIdentity], request: VoidRequest, terminal: Terminal) -> None:
    """Show what *live* is. Raise InputError if nobody confirms that it is to be voided."""
    for one in live[:_SHOWN]:
        terminal.say(f"{one.serial}: {_described(one)}")
    if len(live) > _SHOWN:
        states = Counter(one.state.value for one in live[_SHOWN:])
        terminal.say(f"and {len(live) - _SHOWN} more: {', '.join(f'{n} {state}' for state, n in states.items())}")
    if request.yes:
        return
    subject = "it" if len(live) == 1 else f"these {len(live)}"
    if terminal.interactive:
        if not terminal.confirm(f"Void {subject} for good?"):
            raise InputError("nothing was changed")
        return
    used = [one for one in live if one.state is not State.GENERATED or one.standing.may_have_label]
    if used:
        others = f", and {counted(len(used) - 1, 'more unit')} in use" if len(used) > 1 else ""
        raise InputError(
            f"the unit is {_described(used[0])}{others}",
            where=used[0].serial,
            hint=f"pass --yes to void {subject} anyway",
            cause="no-terminal",
        )


def _described(one: LedgerIdentity) -> str:
    """Return state, board and label of an identity."""
    printed = one.standing.labelled_count
    board = one.mac or "none"
    missing = "in doubt" if one.standing.doubt_ts else "not printed"
    label = f"printed {_times(printed)}" if printed else missing
    return f"{one.state}, board {board}, label {label}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
