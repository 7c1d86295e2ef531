"""A tracer that kills the process at a line: kill -9 in the middle of what must be whole."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Collection
from types import FrameType
from typing import Any


def killer(turn: int, places: Collection[str]) -> Callable[[FrameType, str, Any], Any]:
    """Return a tracer for `sys.settrace` that kills this process at the *turn*-th line in the files *places*."""
    left = turn

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in places:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


def killed(turn: int, places: Collection[str], work: Callable[[], object]) -> bool:
    """Do *work* in a child that is killed at its *turn*-th line in *places*; return False if it ended before."""
    child = os.fork()
    if child == 0:
        sys.settrace(killer(turn, places))
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])
