"""Lines that a person types while something else goes on."""

from __future__ import annotations

import os
import queue
import sys
import threading

_LONGEST_LINE = 4096


class TypedLines:
    """The lines of stdin, read in a thread of their own if stdin is a terminal. Its end (^D) counts as Enter.

    They are read below Python's buffers, whose locks a thread that waits would hold at the end of the process.
    """

    def __init__(self, *, interactive: bool) -> None:
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        if interactive:
            threading.Thread(target=self._read, args=(sys.stdin.fileno(),), daemon=True).start()

    def __call__(self, seconds: float) -> str | None:
        """Wait at most *seconds* for a line; return it without its end, None if none came."""
        try:
            return self._lines.get(timeout=seconds)
        except queue.Empty:
            return None

    def _read(self, source: int) -> None:
        try:
            while line := os.read(source, _LONGEST_LINE):  # a terminal gives one line at a time
                self._lines.put(line.decode("utf-8", "replace").rstrip("\r\n"))
        except OSError:  # the terminal has gone
            pass
        self._lines.put("")
