"""Remove console logs of a workspace, by age and count."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rmfab.errors import StationError, UsageError
from rmfab.files import file_error, oldest_writer, sweep
from rmfab.line.console_log import moment_of
from rmfab.operations.terminal import UNATTENDED, Terminal, counted
from rmfab.workspace.workspace import Workspace

_AGE = re.compile(r"([0-9]{1,5})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class PruneRequest:
    """Remove logs that are older than *older* and not among the newest *keep*; at least one is given.

    *dry_run*: remove nothing. *sure*: do not ask. Raise UsageError.
    """

    older: timedelta | None = None
    keep: int | None = None
    dry_run: bool = False
    sure: bool = False

    def __post_init__(self) -> None:
        if self.older is None and self.keep is None:
            raise UsageError(
                "say what to remove: --older AGE, --keep COUNT, or both",
                hint="for example `rmfab logs prune --older 30d --keep 1000 --dry-run`",
            )
        if self.keep is not None and self.keep < 0:
            raise UsageError("--keep must not be negative")


@dataclass(frozen=True)
class ConsoleLog:
    """A console log: its file, when its visit ended, and its size in bytes."""

    path: Path
    moment: datetime
    size: int


@dataclass(frozen=True)
class Pruned:
    """The logs that were removed (or would be), and how many are left (or would be)."""

    removed: tuple[ConsoleLog, ...]
    left: int


def parse_age(text: str) -> timedelta:
    """Return the age that *text* gives, such as `30d`, `12h` or `4w`. Raise UsageError."""
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f'"{text}" is not an age: use a number and m, h, d or w, such as 30d')
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def prune_logs(workspace: Workspace, request: PruneRequest, terminal: Terminal = UNATTENDED) -> Pruned:
    """Remove console logs as *request* says, after a question; return which.

    Logs of runs under way stay, and so does every file that is not a console log. Raise InputError if nobody can be
    asked, StationError if a log cannot be removed.
    """
    folder = workspace.root / "logs"
    logs = _logs(folder) if folder.is_dir() else []
    chosen = _chosen(logs, request, workspace.now(), _spared_from(folder) if logs else None)
    if chosen and not request.dry_run:
        _confirm(chosen, request, terminal)
        for log in chosen:
            _remove(log)
    return Pruned(tuple(chosen), len(logs) - len(chosen))


def _logs(folder: Path) -> list[ConsoleLog]:
    """Return the console logs in *folder*, the newest first."""
    try:
        named = [(path, moment_of(path.name)) for path in folder.iterdir()]
        found = [
            ConsoleLog(path, moment, path.stat().st_size)
            for path, moment in named
            if moment is not None and path.is_file() and not path.is_symlink()
        ]
    except OSError as error:
        raise file_error("cannot read this folder", error, str(folder)) from error
    return sorted(found, key=lambda log: (log.moment, log.path.name), reverse=True)


def _spared_from(folder: Path) -> datetime | None:
    """Return the start of the oldest run under way, None if there is none."""
    sweep(folder)
    start = oldest_writer(folder)
    return None if start is None else datetime.fromtimestamp(start, UTC)


def _chosen(
    logs: Sequence[ConsoleLog], request: PruneRequest, now: datetime, spared_from: datetime | None
) -> list[ConsoleLog]:
    """Return the logs to remove, oldest first, of *logs*, newest first."""
    beyond = logs[request.keep :] if request.keep is not None else logs
    old = [log for log in beyond if request.older is None or log.moment < now - request.older]
    return [log for log in reversed(old) if spared_from is None or log.moment < spared_from]


def _confirm(chosen: Sequence[ConsoleLog], request: PruneRequest, terminal: Terminal) -> None:
    if request.sure:
        return
    if not terminal.interactive:
        raise UsageError("removing logs requires --yes, because there is no terminal to ask on")
    size = sum(log.size for log in chosen) / 1e6
    if not terminal.confirm(f"Remove {counted(len(chosen), 'console log')}, {size:.1f} MB?"):
        raise UsageError("nothing was removed")


def _remove(log: ConsoleLog) -> None:
    try:
        log.path.unlink(missing_ok=True)
    except OSError as error:
        what = f"cannot remove this log: {error.strerror or error}"
        raise StationError(what, where=str(log.path), cause="no-permission") from error
