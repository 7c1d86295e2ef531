"""The reason that a person gives for a change: the ledger keeps it, and messages show it within a line."""

from __future__ import annotations

from rmfab.errors import UsageError, one_line


def refuse_reason(reason: str) -> None:
    """Raise UsageError unless *reason* is one line of text."""
    if not reason.strip():
        raise UsageError("--reason must not be empty", hint='for example --reason "regulator dead"')
    if one_line(reason, len(reason)) != reason:
        raise UsageError("--reason must be one line of text", hint="leave out line ends and control characters")
