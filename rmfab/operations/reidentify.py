"""Give the board of a returned unit a different identity: the one it had is void, and the line runs with a new one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import InputError
from rmfab.ledger.claim_terms import Replacement
from rmfab.ledger.events import EventKind
from rmfab.ledger.records import LedgerIdentity, refuse_handed_over
from rmfab.ledger.states import State
from rmfab.ledger.succession import PREDECESSOR
from rmfab.operations.pool import hold_pool
from rmfab.operations.reason import refuse_reason
from rmfab.operations.run_line import LineRequest, LineRun, run_line
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.report.cloud_record import cloud_records
from rmfab.workspace.workspace import Workspace


@dataclass(frozen=True)
class ReidentifyRequest:
    """The board of *unit* (a serial, node id or MAC), on *port*, gets a different identity for *reason*.

    *yes*: without a question. The rest is as in a `LineRequest`. Raise UsageError unless the reason is one line of
    text.
    """

    unit: str
    port: str
    reason: str
    yes: bool = False
    batch: str | None = None
    unit_urls: tuple[str, ...] = ()
    baud: int | None = None
    release: Path | None = None
    allow_unknown: bool = False
    allow_downgrade: bool = False
    junit: Path | None = None
    metrics: Path | None = None

    def __post_init__(self) -> None:
        refuse_reason(self.reason)

    def line(self, replaces: Replacement) -> LineRequest:
        """Return the run of the line that does it."""
        return LineRequest(
            ports=(self.port,),
            unit_urls=self.unit_urls,
            baud=self.baud,
            release=self.release,
            batch=self.batch,
            allow_unknown=self.allow_unknown,
            allow_downgrade=self.allow_downgrade,
            junit=self.junit,
            metrics=self.metrics,
            replaces=replaces,
        )


@dataclass(frozen=True)
class Reidentification:
    """The *run*, ready, in which the board loses the identity *old*."""

    run: LineRun
    workspace: Workspace
    old: LedgerIdentity

    def tell(self, terminal: Terminal) -> None:
        """Say what the board has now, and what else still knows the identity that it lost."""
        ledger = self.workspace.ledger
        if ledger.standings([self.old.name])[self.old.name].state is not State.VOID:
            terminal.say(f"{self.old.serial} keeps its board: nothing was changed in the ledger")
            return
        new = ledger.identity_by_mac(self.old.mac or "")
        terminal.say(f"{self.old.serial} is void; its board is {new.serial if new else 'bound to none'}")
        if self.old.standing.labelled_count:
            terminal.warn(f"{self.old.serial}: destroy its label, also the one on the packaging")
        for record in cloud_records(ledger.history(self.old.name), self.old.name):
            if record.registered:
                terminal.warn(f"{record.cloud} still has {self.old.serial} as node {self.old.node_id}: remove it there")


def reidentify(workspace: Workspace, request: ReidentifyRequest, terminal: Terminal = UNATTENDED) -> Reidentification:
    """Check *request* and return the run that does it. Nothing is changed before the board on the port has answered.

    A command that was killed is continued by the same one: the board keeps the identity that it got then. Raise
    InputError if the unit is unknown or has no board, or if nobody confirms it; otherwise as `run_line`.
    """
    hold_pool(workspace, terminal, taking=True)
    old = _meant(workspace, request)
    if old.mac is None:
        hint = "a board without an identity gets one with `rmfab run`"
        raise InputError(f"{old.serial} was never bound to a board", hint=hint, cause="state")
    refuse_handed_over(old)
    if old.state is not State.VOID:
        _confirm(old, request, terminal)
    run = run_line(workspace, request.line(Replacement(old.name, request.reason)), terminal)
    return Reidentification(run, workspace, old)


def _meant(workspace: Workspace, request: ReidentifyRequest) -> LedgerIdentity:
    """Return the identity that the board is to lose.

    If serials come with boards, both identities of a board have the same one. Then the live one may be what this very
    command, killed, has given the board: it is told by its reason.
    """
    named = workspace.ledger.named(request.unit)
    if named.state is State.VOID:
        return named
    for event in reversed(workspace.ledger.history(named.name)):
        before = event.event.details.get(PREDECESSOR) if event.event.kind is EventKind.CLAIM else None
        old = None if before is None else workspace.ledger.identity_by_serial(before)
        if old is not None and old.serial == named.serial and old.standing.reason == request.reason:
            return old
    return named


def _confirm(old: LedgerIdentity, request: ReidentifyRequest, terminal: Terminal) -> None:
    """Show what *old* is. Raise InputError if nobody confirms that its board is to lose it."""
    printed = old.standing.labelled_count
    label = f"label printed {printed} times" if printed > 1 else "label printed once" if printed else "no label"
    terminal.say(f"{old.serial}: {old.state}, board {old.mac}, {label}")
    if request.yes:
        return
    if not terminal.interactive:
        hint = "pass --yes to void it, and to give its board a different identity"
        raise InputError(
            "this voids the identity of the unit for good", where=old.serial, hint=hint, cause="no-terminal"
        )
    if not terminal.confirm(f"Void {old.serial} for good, and give its board a different identity?"):
        raise InputError("nothing was changed")
