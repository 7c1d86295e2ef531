"""Install the script with which a shell completes rmfab's command line, where that shell looks for it.

Sources: bash-completion's README (BASH_COMPLETION_USER_DIR, XDG_DATA_HOME), fish's documentation "Where to put
completions", zsh's zshcompsys(1) (files `_NAME` in a folder of `fpath`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from pathlib import Path

from rmfab.errors import InputError
from rmfab.files import home_folder, make_folder, read_input, write_file

MARK = "_RMFAB_COMPLETE"
"""The variable by which a script of ours asks rmfab for completions, and by which it is recognised."""


@unique
class Shell(StrEnum):
    """A shell that can complete rmfab's command line."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@dataclass(frozen=True)
class Installed:
    """Where the script is now, whether it was *changed*, and what is left for the user to do, None if nothing."""

    path: Path
    changed: bool
    left: str | None


def install_completion(shell: Shell, script: str, environment: Mapping[str, str]) -> Installed:
    """Write *script* to the user's folder of completions for *shell*; no file of the shell itself is changed.

    A script of an earlier version is replaced. Raise InputError if a different file is there, or this user has no home.
    """
    path = _place(shell, environment)
    ours = path.is_file() and MARK.encode() in read_input(path, "completion script")
    before = read_input(path, "completion script") if ours else None
    make_folder(path.parent)
    try:
        write_file(path, script.encode(), force=before is not None and before != script.encode())
    except InputError as error:
        hint = "move this file away; it was not written by rmfab" if error.cause == "exists" else error.hint
        raise InputError(error.what, where=error.where, hint=hint, cause=error.cause) from error
    return Installed(path, before != script.encode(), _left(shell, path))


def _place(shell: Shell, environment: Mapping[str, str]) -> Path:
    if shell is Shell.BASH:
        folder = Path(environment.get("BASH_COMPLETION_USER_DIR") or _data(environment) / "bash-completion")
        return folder / "completions" / "rmfab"
    if shell is Shell.FISH:
        return Path(environment.get("XDG_CONFIG_HOME") or _home() / ".config") / "fish" / "completions" / "rmfab.fish"
    return _data(environment) / "zsh" / "site-functions" / "_rmfab"


def _data(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("XDG_DATA_HOME") or _home() / ".local" / "share")


def _home() -> Path:
    home = home_folder()
    if home is None:
        raise InputError("this user has no home folder", hint="set HOME, or print the script without --install")
    return home


def _left(shell: Shell, path: Path) -> str | None:
    if shell is Shell.ZSH:  # it has no folder of the user's own that it looks into
        return f"put `fpath=({path.parent} $fpath)` into ~/.zshrc, above the line with compinit"
    if shell is Shell.BASH:
        return "this needs the package bash-completion"
    return None
