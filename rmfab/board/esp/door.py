"""The one place that imports esptool, after taming what it shares between threads.

esptool is one process-wide logger, one configuration file looked up in the working directory, and trace strings that
are formatted even when nobody reads them. Before the first import the configuration is pinned to an empty one and the
logger replaced by one that keeps each thread's words apart; after it the trace formatter is silenced.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from functools import cache
from types import ModuleType
from typing import Any

from rmfab.errors import RmfabError
from rmfab.files import shipped

SUPPORTED = "5.6"
_KEPT_LINES = 40

_thread = threading.local()
_first = threading.Lock()


def said() -> tuple[str, ...]:
    """What esptool said last in this thread, oldest first; for the log of a failed step."""
    return tuple(_lines())


def forget_said() -> None:
    """Empties this thread's record, at the start of a conversation."""
    _lines().clear()


def _lines() -> deque[str]:
    lines: deque[str] | None = getattr(_thread, "lines", None)
    if lines is None:
        lines = _thread.lines = deque(maxlen=_KEPT_LINES)
    return lines


def esptool() -> ModuleType:
    """The module `esptool.cmds`, imported once and tamed. Raises RmfabError for a release that rmfab does not know."""
    with _first:  # two threads that import it at once may each see half of it
        return _tamed()


@cache
def _tamed() -> ModuleType:
    os.environ["ESPTOOL_CFGFILE"] = str(shipped("templates", "esptool.cfg"))
    _install_logger()
    import esptool as package
    from esptool import cmds, loader, reset

    if not package.__version__.startswith(SUPPORTED + "."):
        raise RmfabError(
            f"esptool {package.__version__} is not the esptool {SUPPORTED} that rmfab is written for",
            hint=f"install esptool>={SUPPORTED},<5.7 beside rmfab",
            cause="esptool-version",
        )
    loader.HexFormatter = _NoHex
    # bound at import to the logger of that moment, and said only once a process
    reset.ResetStrategy.print_once = staticmethod(_note)
    module: ModuleType = cmds
    return module


def _note(*words: object) -> None:
    text = " ".join(str(word) for word in words).strip()
    if text:
        _lines().append(text)


class _NoHex:
    """In place of loader.HexFormatter, whose eager formatting costs four fifths of the CPU of a write."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __str__(self) -> str:
        return ""


def _install_logger() -> None:
    from esp_pylib.logger import EspLog, EspLogBase

    class SlotLogger(EspLogBase):  # type: ignore[misc]
        """Keeps what esptool says in a record of the calling thread; nothing reaches stdout or stderr."""

        def _note(self, *words: Any, **_: Any) -> None:
            _note(*words)

        print = err = error = warn = warning = note = hint = debug = _note

        def set_verbosity(self, mode: int | str) -> None:
            """One verbosity only: everything, into the record."""

        def progress_bar(self, *_: Any, **__: Any) -> None:
            """Progress comes from our own write loop."""

    EspLog.instance = SlotLogger()
