"""`rmfab ledger`: check, rebuild or back up the ledger."""

from __future__ import annotations

from pathlib import Path

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Branch
from rmfab.commands.options import FILE


@click.group("ledger", cls=Branch)
def command() -> None:
    """Check, rebuild or back up the ledger."""


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

    The copy is consistent; one of ledger.db made by hand may not be.
    """

    from rmfab.operations.git_warning import warn_of_git

    terminal.workspace().ledger.backup(target)
    warn_of_git(terminal.TERMINAL, "the sealed identities", target)
    terminal.say(f"backed up to {target}; keep it offline, together with keys/")
    terminal.show({"backup": str(target)}, None)
