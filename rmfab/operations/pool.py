"""The pool of identities on this host: hold it, adopt it, move it to a different host, restore a backup."""

from __future__ import annotations

from pathlib import Path

from rmfab.errors import InputError, IntegrityError, RmfabError, UsageError
from rmfab.files import file_error
from rmfab.ledger.events import timestamp
from rmfab.ledger.pool_standing import Adoption, AdoptionReason, PoolStanding
from rmfab.ledger.sql.server_address import is_url
from rmfab.operations.admit import Addressee
from rmfab.operations.terminal import UNATTENDED, Terminal, counted
from rmfab.workspace.workspace import Workspace

_ONLY_COPY = (
    "No host holds the pool of this ledger yet: it is from an earlier version of rmfab. Is it the only copy with which "
    "boards are made?"
)


def hold_pool(workspace: Workspace, terminal: Terminal = UNATTENDED, *, taking: bool = True) -> None:
    """Make sure that this host holds the pool, before an operation changes the ledger; *taking*: takes from the pool.

    If no host held it yet, ask whether the ledger is the only copy. Raise IntegrityError (cause `not-pool-holder`).
    """
    standing = workspace.inquiry.pool_standing()
    if standing.refusal is None or (standing.unclaimed and (not taking or workspace.complete_ledger())):
        return
    if _is_moved_here(workspace, standing):
        raise IntegrityError(
            "this ledger was moved to this host, and is not adopted yet",
            where=str(workspace.ledger_path),
            hint="run `rmfab ledger adopt`",
            cause=standing.refusal.cause,
        )
    if not (standing.unclaimed and terminal.interactive and terminal.confirm(_ONLY_COPY)):
        raise standing.refusal
    _adopt(workspace, AdoptionReason.ONLY_COPY)


def refuse_lease(workspace: Workspace) -> None:
    """Raise InputError if the ledger is the lease of a station: it comes back to its server by itself, and moves
    nowhere else."""
    if any(one.leased for one in workspace.inquiry.batches()):
        raise InputError(
            "this ledger is the lease of a station: only the host and the folder that took it use it",
            where=str(workspace.ledger_path),
            hint="unset RMFAB_LEDGER; `rmfab station release` there gives it back; if it is lost, the owner declares "
            "it lost (`rmfab handover --lost N`)",
            cause="handed-over",
        )


def adopt(
    workspace: Workspace,
    terminal: Terminal = UNATTENDED,
    *,
    only_copy: bool = False,
    lost: bool = False,
    name: str | None = None,
) -> Adoption | None:
    """Make this host the holder of the pool; return what that did, None if it was before.

    A ledger that was moved to this host, or is the *only_copy*, goes on as it is. After a loss, every free identity is
    put in quarantine; *lost*: there was one, whatever this host knows. The operator confirms it with the *name* of the
    product, unless it is a file that nobody has held yet. Raise InputError or UsageError.
    """
    if lost and only_copy:
        raise UsageError("--lost and --only-copy exclude each other")
    refuse_lease(workspace)
    standing = workspace.ledger.pool_standing()
    if standing.held and not lost:
        terminal.say("this host holds the pool already; nothing to do")
        return None
    reason = AdoptionReason.LOSS
    if not lost:
        reason = _reason(workspace, standing, terminal, only_copy=only_copy, name=name)
    if not standing.unclaimed or reason is AdoptionReason.LOSS:
        _confirm_adoption(workspace, reason, terminal, name)
    adoption = _adopt(workspace, reason)
    terminal.say("this host holds the pool")
    if adoption.quarantined:
        put = counted(adoption.quarantined, "free identity", "free identities")
        terminal.warn(f"{put} put in quarantine", more_identities(workspace))
    return adoption


def more_identities(workspace: Workspace) -> str:
    """Return the hint how to get more identities here: only the host with the keys can make them."""
    if workspace.can_generate:
        return "make more identities with `rmfab generate --count N`"
    return "ask the owner for the next batch: this host has no keys to make identities"


def move(workspace: Workspace, station: str, terminal: Terminal = UNATTENDED, *, yes: bool = False) -> str:
    """End giving identities from this ledger here, for *station*, which then adopts it; return its recipient.

    *station*: the card file or the recipient (age1…) of the new host. Raise InputError if that is this host, if it
    cannot open the identities, or if nobody confirms it; IntegrityError if this host does not hold the pool.
    """
    recipient = Addressee.named(station).recipient
    refuse_lease(workspace)
    hold_pool(workspace, terminal)
    if recipient == workspace.station_key.recipient:
        raise InputError(
            "this is the recipient of this host",
            where=recipient,
            hint="name that of the new host; if its workspace is a copy of this one, remove keys/station.key there, "
            "and run `rmfab station key` there",
        )
    if recipient not in workspace.product.recipients.values():
        raise InputError(
            "the new host cannot open the identities of this ledger",
            where=recipient,
            hint=f"admit it first: `rmfab station admit {station}`",
        )
    question = "This host will not give identities from this ledger any more. Go on?"
    if not yes and not (terminal.interactive and terminal.confirm(question)):
        raise InputError("nothing was changed", hint="pass --yes to move it without a question")
    workspace.ledger.move(recipient, station=workspace.station.name, ts=timestamp(workspace.now()))
    terminal.say("moved; now copy the ledger to the new host, and run `rmfab ledger adopt` there")
    return recipient


def restore(workspace: Workspace, source: Path, terminal: Terminal = UNATTENDED, *, force: bool = False) -> Path | None:
    """Put the backup *source* in place of the ledger; return where the present ledger is kept, if there is one.

    The restored ledger gives no identities before it is adopted. Raise InputError if the present ledger holds the pool,
    unless *force* or the operator confirms it.
    """
    if is_url(workspace.ledger_path):
        raise InputError(
            "a backup is not restored into a database in use",
            where=workspace.ledger.where,
            hint="set RMFAB_LEDGER to the backup, adopt it (`rmfab ledger adopt --lost`), and bring it to an empty "
            "database (`rmfab ledger copy`)",
            cause="ledger-url",
        )
    from rmfab.ledger.restore import restore as restore_ledger

    target = Path(workspace.ledger_path)
    _judge_backup(source)
    if not force and _holds(workspace):
        question = "The present ledger works, and this host gives identities from it. Replace it by the backup?"
        if not (terminal.interactive and terminal.confirm(question)):
            raise InputError(
                "the present ledger works, and this host gives identities from it",
                where=str(target),
                hint="pass --force to replace it by the backup",
                cause="exists",
            )
    kept = restore_ledger(source, target)
    if kept is not None:
        terminal.say(f"the ledger that was here is {kept.name} now")
    terminal.say(f"restored {source}; it gives no identities before `rmfab ledger adopt`, after a loss with --lost")
    return kept


def _judge_backup(source: Path) -> None:
    """Raise InputError, before anything is asked, if *source* cannot be opened or is empty."""
    try:
        with source.open("rb") as stream:
            if stream.read(1):
                return
    except OSError as error:
        raise file_error("cannot read this backup", error, str(source)) from error
    raise InputError("the backup is empty", where=str(source), hint="restore a different backup")


def _holds(workspace: Workspace) -> bool:
    """Return whether the ledger gives identities. One without a batch is what a refused `generate` leaves."""
    try:
        return workspace.has_ledger and workspace.ledger.pool_standing().held and bool(workspace.ledger.batches())
    except RmfabError:  # it is damaged: that is why it is replaced
        return False


def _adopt(workspace: Workspace, reason: AdoptionReason) -> Adoption:
    return workspace.ledger.adopt(reason, station=workspace.station.name, ts=timestamp(workspace.now()))


def _is_moved_here(workspace: Workspace, standing: PoolStanding) -> bool:
    return (
        standing.moved_to is not None
        and workspace.has_station_key
        and standing.moved_to == workspace.station_key.recipient
    )


def _reason(
    workspace: Workspace, standing: PoolStanding, terminal: Terminal, *, only_copy: bool, name: str | None
) -> AdoptionReason:
    if only_copy and not (standing.unclaimed or standing.displaced):
        why = "" if standing.refusal is None else f"; {standing.refusal.what}"
        raise UsageError(
            f"--only-copy is for a ledger that nobody has held yet, or a server that has lost nothing{why}",
            hint="omit it to adopt this one after a loss",
        )
    if _is_moved_here(workspace, standing):
        return AdoptionReason.MOVE
    if standing.refusal is not None and standing.moved_to is not None and name is None:
        raise standing.refusal  # it is not lost: a different host has it
    if only_copy or (standing.unclaimed and terminal.interactive and terminal.confirm(_ONLY_COPY)):
        return AdoptionReason.ONLY_COPY
    return AdoptionReason.LOSS


_CONFIRMED = {
    AdoptionReason.LOSS: (
        "{free} will be put in quarantine: a board of the lost ledger may have any of them",
        "if the ledger that holds the pool is lost",
    ),
    AdoptionReason.MOVE: (
        (
            "this host will give the {free}, which a host that adopted this ledger before would give, too; if one did, "
            "use --lost"
        ),
        "if no host has adopted it since it was moved",
    ),
    AdoptionReason.ONLY_COPY: (
        "this server will give the {free}, which the one before would give, too",
        "if the one before is gone, and nothing that it gave is missing here",
    ),
}
"""What each adoption does, and when it is right."""


def _confirm_adoption(workspace: Workspace, reason: AdoptionReason, terminal: Terminal, name: str | None) -> None:
    """Raise InputError unless the operator confirms, by the *name* of the product, that nobody else gives identities
    from this ledger."""
    free = counted(workspace.ledger.free_identities(), "free identity", "free identities")
    does, right = _CONFIRMED[reason]
    what, expected = does.format(free=free), workspace.product.name
    if name is None:
        if not terminal.interactive:
            raise InputError(
                f"nothing was changed: {what}",
                where=workspace.ledger.where,
                hint=f'{right}, pass --name "{expected}"',
                cause="no-terminal",
            )
        terminal.warn(what, f"go on only {right}")
        name = terminal.ask("Type the name of the product to adopt this ledger")
    if name.strip() != expected:
        raise InputError(f'nothing was changed: this is not the name of the product ("{expected}")', where=name)
