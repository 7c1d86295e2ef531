"""The warning that git would commit a file with secrets."""

from __future__ import annotations

from pathlib import Path

from rmfab.git import would_take
from rmfab.operations.terminal import Terminal


def warn_of_git(terminal: Terminal, what: str, *files: Path, shown: Path | None = None) -> None:
    """Warn if *files*, which contain *what*, are in a git work tree and not ignored; without git, say nothing.

    For a folder, *files* are examples of what it contains, and *shown* is the folder.
    """
    taken = next((file for file in files if would_take(file)), None)
    if taken is None:
        return
    named = shown or taken
    terminal.warn(
        f"{named} is in a git work tree and not ignored: `git add` would take {what}",
        f"add {named.name}{'/' if shown is not None else ''} to .gitignore",
    )
