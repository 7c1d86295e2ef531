"""A seat at a terminal of 80 by 24: a command that draws a screen, the text that it shows, and keys for it."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import termios
import threading
from pathlib import Path

import pyte

from tests.patience import until

KEYS = {"F5": "\x1b[15~", "F10": "\x1b[21~", "Enter": "\r"}
_COLUMNS, _LINES = 80, 24


class Seat:
    """A command line in bash on a pseudo-terminal; a thread reads what it draws until it ends."""

    def __init__(self, script: str, cwd: Path, variables: dict[str, str]) -> None:
        self._picture = pyte.Screen(_COLUMNS, _LINES)
        self._stream = pyte.ByteStream(self._picture)
        self._child, self._terminal = pty.fork()
        if self._child == 0:
            os.chdir(cwd)
            os.execvpe("bash", ["bash", "-c", f"exec {script}"], variables | {"TERM": "xterm-256color"})
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, _COLUMNS, 0, 0))
        self._drawing = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while piece := os.read(self._terminal, 1 << 16):
                with self._drawing:
                    self._stream.feed(piece)
        except OSError:  # the command has ended
            pass

    @property
    def text(self) -> str:
        """What is on the screen now."""
        with self._drawing:
            return "\n".join(line.rstrip() for line in self._picture.display)

    def until(self, words: str) -> None:
        """Wait until *words* are on the screen, also if a line end is between them."""

        def shown() -> bool:
            seen = words in " ".join(self.text.split())
            assert seen or self._reader.is_alive(), f"it ended without {words!r}:\n{self.text}"
            return seen

        until(shown, f"no {words!r} on the screen:\n{self.text}")

    def press(self, key: str) -> None:
        """Press the key of this name."""
        os.write(self._terminal, KEYS[key].encode())

    def close(self) -> None:
        """Hang up, and wait for the end."""
        if self._reader.is_alive():
            os.kill(self._child, signal.SIGTERM)
        self._reader.join()
        os.waitpid(self._child, 0)
        os.close(self._terminal)
