"""^C and other signals: how soon they take effect, and how they are deferred while they would do harm."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SLICE_SECONDS = 0.4
"""The longest wait without a look at whether it is still wanted, so that ^C takes effect within a second."""


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
