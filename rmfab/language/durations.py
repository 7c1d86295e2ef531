"""Durations as an operator reads them: the same in every language."""

from __future__ import annotations


def clock(seconds: float) -> str:
    """Return a duration: `7 s`, `1:05`, `2:03:09`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
