"""The .gitignore of a workspace: it keeps secrets out of git, also in a repository that has a .gitignore already."""

from __future__ import annotations

from pathlib import Path

from rmfab.files import read_input, write_file

FILE_NAME = ".gitignore"
_SECRET = ("/keys/", "*.key", "*.pass", "/ledger.db*", "/logs/", "/out/", "/labels*")
_NEW = """# secret, or specific to this host
{}
/station.toml
/images/
/boards/
# labels and sheets show the PoP
*.pdf
*.png
*.svg
"""
"""For a folder without one. In a repository with a .gitignore, the wider patterns would hide files of the firmware."""


def ignore_secrets(folder: Path) -> None:
    """Write .gitignore in *folder*, or append what `unprotected` returns to an existing one."""
    path, missing = folder / FILE_NAME, unprotected(folder)
    if not path.exists():
        write_file(path, _NEW.format("\n".join(_SECRET)).encode())
    elif missing:
        there = read_input(path)
        gap = b"" if there.endswith(b"\n") or not there else b"\n"
        write_file(path, there + gap + "\n".join(("# rmfab", *missing, "")).encode(), force=True)


def unprotected(folder: Path) -> tuple[str, ...]:
    """Return the patterns of secrets that the .gitignore in *folder* lacks; nothing if there is no such file.

    Patterns above the last `!` do not count, because that one may undo them (gitignore(5)).
    """
    path = folder / FILE_NAME
    if not path.exists():
        return ()
    lines = [line.strip() for line in read_input(path).splitlines()]
    after = max((at for at, line in enumerate(lines) if line.startswith(b"!")), default=-1) + 1
    return tuple(pattern for pattern in _SECRET if pattern.encode() not in lines[after:])
