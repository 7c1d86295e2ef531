"""`rmfab logs`: remove old console logs."""

from __future__ import annotations

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Branch


@click.group("logs", cls=Branch)
def command() -> None:
    """Remove old console logs."""


@command.command()
@click.option("--older", metavar="AGE", help="Remove logs older than AGE: a number and m, h, d or w, such as 30d.")
@click.option("--keep", type=int, metavar="COUNT", help="Never remove the newest COUNT logs.")
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and remove nothing.")
@click.option("--yes", "sure", is_flag=True, help="Do not ask; required without a terminal.")
def prune(older: str | None, keep: int | None, dry_run: bool, sure: bool) -> None:
    """Remove console logs by age and count.

    --keep alone removes all but the newest COUNT; with both options, a log must be older than AGE and not be one of the
    newest COUNT. Logs of runs under way stay, and so does everything in logs/ that is not a console log.

    \b
    rmfab logs prune --older 30d --keep 1000
    rmfab logs prune --keep 500 --dry-run
    """
    from rmfab.operations.prune_logs import PruneRequest, parse_age, prune_logs
    from rmfab.operations.terminal import counted

    request = PruneRequest(parse_age(older) if older is not None else None, keep, dry_run, sure)
    done = prune_logs(terminal.workspace(), request, terminal.TERMINAL)
    names = [log.path.name for log in done.removed]
    size = sum(log.size for log in done.removed)
    terminal.show({"removed": names, "bytes": size, "left": done.left, "dry_run": dry_run}, "\n".join(names) or None)
    word = "would remove" if dry_run else "removed"
    terminal.say(f"{word} {counted(len(names), 'console log')}, {size / 1e6:.1f} MB; {done.left} left")
