"""Resets that take no time: a virtual board has no capacitor at EN, and thousands of tests reset one.

Processes of rmfab that tests start hold EN as long as for a real board.
"""

from __future__ import annotations

from rmfab.board import restart
from rmfab.board.esp import door

FOR_A_LOADER, FOR_A_RUN = door._HOLD_SECONDS, restart._HOLD_SECONDS
"""What rmfab takes for its users, in seconds: into the loader at the first attempt, and into the firmware."""
_MOMENT_SECONDS = 0.002


def make_resets_quick() -> None:
    """Let this process hold EN for a moment only."""
    door._HOLD_SECONDS = restart._HOLD_SECONDS = _MOMENT_SECONDS
