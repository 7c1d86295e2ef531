"""What a check of this host, or of a workspace, has found."""

from __future__ import annotations

from dataclasses import dataclass

from rmfab.errors import RmfabError


@dataclass(frozen=True)
class Diagnosis:
    """The result of one check: *good*, or what is wrong with a *hint* how to fix it.

    *command*: a command that fixes it, to be pasted into a shell as it is. *error*: the exception that the check met,
    if it met one.
    """

    what: str
    good: bool
    hint: str = ""
    error: RmfabError | None = None
    command: str = ""
