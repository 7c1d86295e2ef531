"""The terminal while the screen has it: nothing else writes there, and it is whole again afterwards, whatever happens.

File descriptors 1 and 2 go to a log file, so that neither a library, a thread that dies nor a child process can draw
over the screen; the screen writes by a descriptor of its own. A guard, a shell in a session of its own, waits for the
end of this process: if that ends without saying goodbye, as after SIGKILL, the guard sets the terminal right.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TextIO

_GUARD = r"""
trap '' INT TERM HUP TTOU
modes=$(stty -g <&3 2>/dev/null)
echo ready
read -r goodbye && exit 0
stty "$modes" <&3 2>/dev/null || stty sane <&3
printf '\033[?1049l\033[?25h\033[?7h\033[?2004l\033[?1004l\033[<u\033[0m' >&3
printf '\r\nrmfab: the screen was killed; run the same command again: no unit is lost\r\n' >&3
"""
"""Leaves the alternate screen, shows the cursor, lets long lines go on in the next row (DECAWM), ends reports of pastes
and focus (xterm, ctlseqs), kitty's keys."""


@contextmanager
def own_terminal(log: Path) -> Iterator[None]:
    """Keep the terminal for the screen until the block ends; what others print goes to the file *log*."""
    sys.stdout.flush()
    sys.stderr.flush()
    screen = os.dup(2)
    kept = os.dup(1), os.dup(2)
    streams, hook = (sys.__stdout__, sys.__stderr__), threading.excepthook
    guard = _guard(screen)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for number in (1, 2):
            os.dup2(file, number)
        with _stream(screen) as terminal, _stream(file) as notes:
            sys.__stdout__ = sys.__stderr__ = terminal  # type: ignore[misc,assignment]
            threading.excepthook = partial(_note_thread, notes)
            yield
    finally:
        sys.__stdout__, sys.__stderr__ = streams  # type: ignore[misc]
        threading.excepthook = hook
        for number, before in zip((1, 2), kept, strict=True):
            os.dup2(before, number)
            os.close(before)
        os.close(file)
        _dismiss(guard)
        os.close(screen)


def _stream(descriptor: int) -> TextIO:
    return open(descriptor, "w", encoding="utf-8", closefd=False)


def _note_thread(notes: TextIO, died: threading.ExceptHookArgs) -> None:
    """Write to *notes* why a thread has died: Textual would swallow it."""
    traceback.print_exception(died.exc_type, died.exc_value, died.exc_traceback, file=notes)
    notes.flush()


def _guard(screen: int) -> subprocess.Popen[bytes] | None:
    """Start the guard of the terminal behind the descriptor *screen*; None on systems without a shell for it."""
    if os.name != "posix" or not os.isatty(screen):
        return None
    try:
        guard = subprocess.Popen(
            ["/bin/sh", "-c", f"exec 3>&2\n{_GUARD}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=screen,
            start_new_session=True,
        )
    except OSError:
        return None
    if guard.stdout is not None:
        guard.stdout.readline()  # it has read the modes before the screen changes them
    return guard


def _dismiss(guard: subprocess.Popen[bytes] | None) -> None:
    if guard is not None:
        guard.communicate(b"goodbye\n")
