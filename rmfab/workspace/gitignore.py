"""The .gitignore of a workspace: it keeps secrets out of git, also in the repository of a firmware."""

from __future__ import annotations

from pathlib import Path

from rmfab.files import read_input, write_file
from rmfab.release.build_files import PROJECT_MARKS

FILE_NAME = ".gitignore"
_SECRET = (
    "/keys/",
    "*.key",
    "*.pass",
    "/ledger.db*",
    "/lease.*",
    "/spool/",
    "/logs/",
    "/out/",
    "/labels*",
    "/factory-wifi.toml",
)
_NEW = """# labels and sheets show the PoP, logos of label styles do not
*.pdf
*.png
*.svg
!/templates/labels/*.png
# secret, or specific to this host
{}
/station.toml
/images/
/boards/
/broker/
/cloud/
/state/
/.releases
"""
"""For a folder of its own. In a firmware's, the wider patterns would hide files of the firmware."""


def ignore_secrets(folder: Path) -> None:
    """Write .gitignore in *folder*; in that of a firmware, append what `unprotected` returns."""
    path, missing = folder / FILE_NAME, unprotected(folder)
    if not path.exists() and not missing:
        write_file(path, _NEW.format("\n".join(_SECRET)).encode())
    elif missing:
        there = read_input(path) if path.exists() else b""
        gap = b"" if there.endswith(b"\n") or not there else b"\n"
        write_file(path, there + gap + "\n".join(("# rmfab", *missing, "")).encode(), force=True)


def unprotected(folder: Path) -> tuple[str, ...]:
    """Return the patterns of secrets that the .gitignore in *folder* lacks; nothing in a folder of its own without one.

    Patterns above the last `!` do not count, because that one may undo them (gitignore(5)).
    """
    path = folder / FILE_NAME
    if not path.exists():
        return _SECRET if any((folder / mark).exists() for mark in PROJECT_MARKS) else ()
    lines = [line.strip() for line in read_input(path).splitlines()]
    after = max((at for at, line in enumerate(lines) if line.startswith(b"!")), default=-1) + 1
    return tuple(pattern for pattern in _SECRET if pattern.encode() not in lines[after:])
