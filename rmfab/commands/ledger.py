"""`rmfab ledger`: keeping the ledger sound."""

from __future__ import annotations

from pathlib import Path

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Branch
from rmfab.commands.options import FILE


@click.group("ledger", cls=Branch)
def command() -> None:
    """Check the ledger, rebuild its current state from history, or back it up."""


@command.command()
def check() -> None:
    """Verify every hash chain, every batch digest and every unit's state; exit 5 where one does not hold."""
    from rmfab.errors import IntegrityError
    from rmfab.operations.terminal import counted
    from rmfab.workspace.workspace import open_workspace

    findings = open_workspace(terminal.folder()).ledger.check()
    lines = [f"{finding.where}: {finding.what}" for finding in findings]
    document = [{"where": finding.where, "what": finding.what} for finding in findings]
    terminal.show({"sound": not findings, "findings": document}, "\n".join(lines) or None)
    if findings:
        raise IntegrityError(
            f"{counted(len(findings), 'thing')} in the ledger {'does' if len(findings) == 1 else 'do'} not hold",
            hint="stop the line; compare with the last backup, `rmfab ledger rebuild` mends states only",
        )
    terminal.say("the ledger is sound")


@command.command()
def rebuild() -> None:
    """Make the current state of every unit anew from the append-only events."""
    from rmfab.workspace.workspace import open_workspace

    mended = open_workspace(terminal.folder()).ledger.rebuild()
    terminal.say(f"{mended} units mended" if mended else "nothing to mend")
    terminal.show({"mended": mended}, None)


@command.command()
@click.argument("target", metavar="FILE", type=FILE)
def backup(target: Path) -> None:
    """Copy the ledger to FILE, consistent while stations go on working. Never copy ledger.db by hand."""
    from rmfab.workspace.workspace import open_workspace

    open_workspace(terminal.folder()).ledger.backup(target)
    terminal.say(f"backed up to {target}; keep it with keys/ offline")
    terminal.show({"backup": str(target)}, None)
