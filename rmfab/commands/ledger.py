"""`rmfab ledger`: keeping the ledger sound."""

from __future__ import annotations

from pathlib import Path

import click

from rmfab.errors import IntegrityError


@click.group("ledger")
def command() -> None:
    """Check the ledger, rebuild its current state from history, or back it up."""


@command.command()
def check() -> None:
    """Verify every hash chain, every batch digest and every unit's state; exit 5 where one does not hold."""
    from rmfab.commands import terminal
    from rmfab.workspace import open_workspace

    findings = open_workspace(terminal.folder()).ledger.check()
    for finding in findings:
        terminal.data(f"{finding.where}: {finding.what}")
    if findings:
        raise IntegrityError(
            f"{terminal.counted(len(findings), 'thing')} in the ledger "
            f"{'does' if len(findings) == 1 else 'do'} not hold",
            hint="stop the line; compare with the last backup, `rmfab ledger rebuild` mends states only",
        )
    terminal.say("the ledger is sound")


@command.command()
def rebuild() -> None:
    """Make the current state of every unit anew from the append-only events."""
    from rmfab.commands import terminal
    from rmfab.workspace import open_workspace

    mended = open_workspace(terminal.folder()).ledger.rebuild()
    terminal.say(f"{mended} units mended" if mended else "nothing to mend")


@command.command()
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
def backup(target: Path) -> None:
    """Copy the ledger to FILE, consistent while stations go on working. Never copy ledger.db by hand."""
    from rmfab.commands import terminal
    from rmfab.workspace import open_workspace

    open_workspace(terminal.folder()).ledger.backup(target)
    terminal.say(f"backed up to {target}; keep it with keys/ offline")
