"""A ledger on a server, by its owner: make it, upgrade it, and bring a ledger there or back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rmfab.errors import InputError, UsageError
from rmfab.ledger.events import timestamp
from rmfab.ledger.sql.server_address import is_url
from rmfab.operations.pool import hold_pool, refuse_lease
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.workspace.workspace import Workspace


def init_ledger(
    workspace: Workspace, stations: Sequence[str], readers: Sequence[str], terminal: Terminal = UNATTENDED
) -> None:
    """Make the ledger of *workspace* if there is none, and give roles of its server the rights that they need.

    Raise LedgerError, or UsageError for roles of a ledger in a file.
    """
    from rmfab.ledger.store import Ledger

    location = workspace.ledger_path
    if (stations or readers) and not is_url(location):
        raise UsageError("a ledger in a file has no roles", hint="set RMFAB_LEDGER to the address of a server")
    with Ledger.open(location, create=True, host=workspace.host) as ledger:
        if stations or readers:
            ledger.grant(stations, readers)
    terminal.say(f"the ledger is at {location}")
    for what, roles in (("stations", stations), ("reports", readers)):
        if roles:
            terminal.say(f"roles for {what}: {', '.join(roles)}")


def migrate_ledger(workspace: Workspace, backup: Path | None, terminal: Terminal = UNATTENDED) -> bool:
    """Upgrade the schema of the ledger, after a copy to *backup*; return whether it was out of date."""
    from rmfab.ledger.store import migrate

    target = backup or workspace.root / f"before-migration-{workspace.now():%Y%m%dT%H%M%SZ}.db"
    done = migrate(workspace.ledger_path, target, host=workspace.host)
    if done and target.exists():
        terminal.say(f"a copy of the ledger as it was is in {target}")
    terminal.say("the ledger has the schema of this rmfab" + ("" if done else " already"))
    return done


def copy_ledger(workspace: Workspace, target: str, terminal: Terminal = UNATTENDED, *, yes: bool = False) -> None:
    """Copy the ledger to *target*, a path or the address of a database; that one gives its identities from then on.

    Raise InputError if nobody confirms it or there is a ledger already, IntegrityError if this host does not hold the
    pool.
    """
    from rmfab.ledger.transfer import transfer

    refuse_lease(workspace)
    ledger = workspace.ledger
    location = target if is_url(target) else Path(target).absolute()
    if ledger.pool_standing().moved_to is None:
        hold_pool(workspace, terminal)
    question = f"This ledger will give no identities any more; {location} gives them instead. Go on?"
    if not yes and not (terminal.interactive and terminal.confirm(question)):
        raise InputError("nothing was changed", hint="pass --yes to copy it without a question")
    transfer(ledger, location, station=workspace.station.name, ts=timestamp(workspace.now()))
    terminal.say(f"copied; set RMFAB_LEDGER (or ledger in station.toml) to {location} from now on")
