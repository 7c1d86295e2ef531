"""^C and other signals: how soon they take effect, and how they are deferred while they would do harm."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType, FrameType

SLICE_SECONDS = 0.4
"""The longest wait without a look at whether it is still wanted, so that ^C takes effect within a second."""
_AGAIN_SECONDS = 0.01  # the finalizer has usually ended by then; if not, the interrupt is lost and repeated once more


@contextmanager
def undisturbed() -> Iterator[None]:
    """Defer SIGINT, SIGTERM and SIGHUP until the block ends; processes started inside ignore ^C from their start.

    A process pool that is interrupted while it starts or ends a worker can hang, and a Rust module that is
    interrupted while it loads panics.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in numbers}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if os.name == "posix" else None
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in came[:1]:
        signal.raise_signal(number)


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM call *stop*, in a thread of its own; a second one interrupts as usual."""

    def stop_once(number: int, _: FrameType | None) -> None:
        signal.signal(number, previous[signal.Signals(number)])
        _call_beside(stop)

    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in previous:
        signal.signal(number, stop_once)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def on_continue(again: Callable[[], object]) -> None:
    """Call *again*, in a thread of its own, whenever this process goes on after SIGSTOP or SIGTSTP.

    Both of them just stop it.
    """
    if os.name == "posix":
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.signal(signal.SIGCONT, lambda *_: _call_beside(again))


def _call_beside(action: Callable[[], object]) -> None:
    """Let a thread call *action*, from a handler of a signal or a finalizer.

    The main thread may hold any lock when either interrupts it, that of an event that it waits for among them: who took
    it here would wait for ever. The start of a threading.Thread takes one, too.
    """
    _thread.start_new_thread(action, ())


def repeat_lost_interrupts() -> None:
    """Repeat an interrupt that Python drops, until one takes effect.

    If the signal comes while a finalizer or the callback of a weak reference runs, Python prints "Exception ignored
    in" and continues as if there had been none (documentation of `object.__del__` and `sys.unraisablehook`).
    """
    report = sys.unraisablehook

    def repeat(lost: sys.UnraisableHookArgs) -> None:
        if lost.exc_type is not KeyboardInterrupt:
            report(lost)
            return
        _call_beside(partial(_interrupt_main_thread, repeat.__code__))

    sys.unraisablehook = repeat


def _interrupt_main_thread(hook: CodeType) -> None:
    """Send SIGINT to the main thread once it has left *hook*, where Python drops it without calling the hook again.

    If a different thread receives it, the main thread does not leave its wait.
    """
    time.sleep(_AGAIN_SECONDS)
    main = threading.main_thread().ident
    while main is not None and _runs(main, hook):
        time.sleep(_AGAIN_SECONDS)
    if os.name == "posix" and main is not None:
        signal.pthread_kill(main, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)


def _runs(thread: int, code: CodeType) -> bool:
    frame = sys._current_frames().get(thread)
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None
