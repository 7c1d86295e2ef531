"""The only import of esptool, with its state per process made safe for threads.

esptool has one logger per process, reads a configuration file from the working directory, and formats trace strings
that are not used. Before the first import, the configuration is replaced by an empty one and the logger by one with a
record per thread. After it, the trace formatter is disabled.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

from rmfab.errors import RmfabError
from rmfab.files import shipped

SUPPORTED = "5.6"
_KEPT_LINES = 40
_HOLD_SECONDS = 0.03

_thread = threading.local()
_first = threading.Lock()


def said() -> tuple[str, ...]:
    """Return the last output of esptool in this thread, oldest line first, for the log of a failed step."""
    return tuple(_lines())


def forget_said() -> None:
    """Clear this thread's record at the start of a conversation."""
    _lines().clear()


def _lines() -> deque[str]:
    lines: deque[str] | None = getattr(_thread, "lines", None)
    if lines is None:
        lines = _thread.lines = deque(maxlen=_KEPT_LINES)
    return lines


def esptool() -> ModuleType:
    """Return the module `esptool.cmds`, imported once. Raise RmfabError if the version of esptool is not supported."""
    with _first:  # two threads that import it at once may each see a partial module
        return _tamed()


@cache
def _tamed() -> ModuleType:
    os.environ["ESPTOOL_CFGFILE"] = str(shipped("templates", "esptool.cfg"))
    _install_logger()
    import esptool as package
    from esptool import cmds, loader, reset

    if not package.__version__.startswith(SUPPORTED + "."):
        raise RmfabError(
            f"esptool {package.__version__} is not supported, expected {SUPPORTED}",
            hint=f"install 'esptool>={SUPPORTED},<5.7'",
            cause="esptool-version",
        )
    loader.HexFormatter = _NoHex
    # esptool binds this to the logger at import, and prints only once per process
    reset.ResetStrategy.print_once = staticmethod(_note)
    for name in ("classic_bootloader_reset", "unix_tight_bootloader_reset"):
        setattr(reset, name, _quick_at_first(getattr(reset, name), reset.DEFAULT_RESET_DELAY))
    module: ModuleType = cmds
    return module


def _quick_at_first(pull: Callable[..., None], first_delay: float) -> Callable[..., None]:
    """Return the reset *pull*, which holds EN only 30 ms the first time; if that does not help, esptool's 100 ms.

    A transistor discharges the largest usual capacitor at EN, 10 uF, in about 2 ms.
    """

    def pulled(port: Any, *, enter_boot_delay: float, reset_delay: float, flow_control: bool) -> None:
        hold = _HOLD_SECONDS if reset_delay <= first_delay else enter_boot_delay
        pull(port, enter_boot_delay=hold, reset_delay=reset_delay, flow_control=flow_control)

    return pulled


def _note(*words: object) -> None:
    text = " ".join(str(word) for word in words).strip()
    if text:
        _lines().append(text)


class _NoHex:
    """A replacement of loader.HexFormatter: its eager formatting takes 80 % of the CPU time of a write."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __str__(self) -> str:
        return ""


def _install_logger() -> None:
    from esp_pylib.logger import EspLog, EspLogBase

    class SlotLogger(EspLogBase):  # type: ignore[misc]
        """A logger that keeps esptool's output in a record of the calling thread, off stdout and stderr."""

        def _note(self, *words: Any, **_: Any) -> None:
            _note(*words)

        print = err = error = warn = warning = note = hint = debug = _note

        def set_verbosity(self, mode: int | str) -> None:
            """Do nothing: the record always contains everything."""

        def progress_bar(self, *_: Any, **__: Any) -> None:
            """Do nothing: progress comes from rmfab's own write loop."""

    EspLog.instance = SlotLogger()
