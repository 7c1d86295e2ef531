"""`rmfab ledger`: check, rebuild, back up or restore the ledger; move or adopt its pool of identities; servers."""

from __future__ import annotations

from pathlib import Path

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Branch
from rmfab.commands.options import FILE


@click.group("ledger", cls=Branch)
def command() -> None:
    """Check the ledger, back it up, move it to a different host."""


@command.command()
def check() -> None:
    """Verify hash chains, batch digests and the state of units.

    Exits with code 5 if it finds a problem.
    """
    from rmfab.errors import IntegrityError
    from rmfab.operations.read_ledger import ledger_to_read
    from rmfab.operations.terminal import counted

    findings = ledger_to_read(terminal.workspace(), terminal.TERMINAL).check()
    lines = [f"{finding.where}: {finding.what}" for finding in findings]
    document = [{"where": finding.where, "what": finding.what} for finding in findings]
    terminal.show({"sound": not findings, "findings": document}, "\n".join(lines) or None)
    if findings:
        raise IntegrityError(
            f"ledger check found {counted(len(findings), 'problem')}",
            hint="stop the line and compare with the last backup; `rmfab ledger rebuild` repairs states only",
        )
    terminal.say("the ledger is sound")


@command.command("init")
@click.option("--station", "stations", metavar="ROLE", multiple=True, help="A role of the server for stations.")
@click.option("--reader", "readers", metavar="ROLE", multiple=True, help="A role of the server for reports.")
def init_(stations: tuple[str, ...], readers: tuple[str, ...]) -> None:
    """Make the ledger that RMFAB_LEDGER names, in an empty database of a PostgreSQL server.

    Run it as the role that owns the database. A role for stations may claim and record, but makes no batch and deletes
    nothing; one for reports only reads. Repeat it to add roles.

    \b
    RMFAB_LEDGER=postgresql://owner@db/rmfab rmfab ledger init --station bench
    """
    from rmfab.operations.server_ledger import init_ledger

    init_ledger(terminal.workspace(), stations, readers, terminal.TERMINAL)
    terminal.show({"stations": list(stations), "readers": list(readers)}, None)


@command.command("migrate")
@click.option("--backup", metavar="FILE", type=FILE, help="Where the copy before the upgrade goes; default: here.")
def migrate_(backup: Path | None) -> None:
    """Upgrade the schema of a ledger on a server, after a backup.

    All stations need the new version of rmfab then. A ledger in a file is upgraded when it is opened.
    """
    from rmfab.operations.server_ledger import migrate_ledger

    done = migrate_ledger(terminal.workspace(), backup, terminal.TERMINAL)
    terminal.show({"migrated": done}, None)


@command.command("copy")
@click.argument("target", metavar="TARGET")
@click.option("--yes", is_flag=True, help="Do not ask; required without a terminal.")
def copy_(target: str, yes: bool) -> None:
    """Move the ledger to TARGET: a database on a PostgreSQL server, or from there to a file.

    Every batch, unit and event is copied as it is. From then on TARGET gives the identities, and this ledger is only
    for reading. If the copy is interrupted, repeat it.

    \b
    rmfab ledger copy postgresql://owner@db/rmfab
    """
    from rmfab.operations.server_ledger import copy_ledger

    copy_ledger(terminal.workspace(), target, terminal.TERMINAL, yes=yes)
    terminal.show({"copied_to": target}, None)


@command.command()
def rebuild() -> None:
    """Rebuild the state of every unit from its events."""

    mended = terminal.workspace().ledger.rebuild()
    terminal.say(f"repaired {mended} units" if mended else "nothing to repair")
    terminal.show({"mended": mended}, None)


@command.command()
@click.argument("target", metavar="FILE", type=FILE)
def backup(target: Path) -> None:
    """Copy the ledger to FILE, even while stations use it.

    The copy is consistent; one of ledger.db made by hand may not be. A ledger on a server is copied to a file, too.
    """

    from rmfab.operations.git_warning import warn_of_git

    terminal.workspace().ledger.backup(target)
    warn_of_git(terminal.TERMINAL, "the sealed identities", target)
    terminal.say(f"backed up to {target}; it is useless without keys/: keep both offline, apart from this host")
    terminal.say(
        "it contains the sealed identities, and as a copy it gives none: after a loss, `rmfab ledger restore`, then "
        "`rmfab ledger adopt --lost`; on the host that a ledger was moved to, only `rmfab ledger adopt`"
    )
    terminal.show({"backup": str(target)}, None)


@command.command("restore")
@click.argument("source", metavar="FILE", type=FILE)
@click.option("--force", is_flag=True, help="Do not ask, although the present ledger works.")
def restore_(source: Path, force: bool) -> None:
    """Put the backup FILE in place of the ledger.

    The backup is checked first; the ledger that was here is kept under a new name. The restored ledger is for reading:
    identities may have been given since the backup. `rmfab ledger adopt`, after a loss with --lost, makes it the one
    that gives identities.
    """
    from rmfab.operations.pool import restore
    from rmfab.workspace.workspace import open_workspace

    workspace = open_workspace(terminal.folder())
    kept = restore(workspace, source, terminal.TERMINAL, force=force)
    terminal.show({"restored": str(source), "kept": str(kept) if kept else None}, None)


@command.command("adopt")
@click.option(
    "--only-copy", is_flag=True, help="There is no other copy: an earlier version made it, or a server moved."
)
@click.option("--lost", is_flag=True, help="The ledger that gave identities is lost, even if nothing here shows it.")
@click.option("--name", help="Name of the product; confirms the adoption without a question.")
def adopt_(only_copy: bool, lost: bool, name: str | None) -> None:
    """Give identities from this ledger on this host from now on.

    On the host that the ledger was moved to, it goes on as it is; adopt it only once. If the ledger that gave
    identities is lost, and this is a backup or a copy, every free identity is put in quarantine: it may be on a board
    already, so it is never given to a new one. A board that carries it gets it back. A server that was moved with all
    its data, or whose replica took over without a loss, goes on with --only-copy.

    Use --lost if boards were made since this file was written, and this host cannot know of it: the ledger that was
    moved here is lost together with the state folder, or a snapshot was rolled back.
    """
    from rmfab.operations.pool import adopt
    from rmfab.workspace.workspace import open_workspace

    workspace = open_workspace(terminal.folder())
    done = adopt(workspace, terminal.TERMINAL, only_copy=only_copy, lost=lost, name=name)
    document = {"adopted": done is not None, "reason": done.reason.value if done else None}
    terminal.show(document | {"quarantined": done.quarantined if done else 0}, None)


@command.command("move")
@click.option(
    "--to", "station", metavar="CARD", required=True, help="Card file, or recipient (age1…), of the new host."
)
@click.option("--yes", is_flag=True, help="Do not ask; required without a terminal.")
def move_(station: str, yes: bool) -> None:
    """Move the right to give identities to a different host, for good.

    Then copy the ledger there, and run `rmfab ledger adopt` on that host.

    \b
    rmfab ledger move --to laptop.card
    """
    from rmfab.operations.pool import move
    from rmfab.workspace.workspace import open_workspace

    recipient = move(open_workspace(terminal.folder()), station, terminal.TERMINAL, yes=yes)
    terminal.show({"moved_to": recipient}, None)
