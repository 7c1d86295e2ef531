"""What commands that serve until ^C share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rmfab.commands import terminal


@contextmanager
def until_stopped(what: str) -> Iterator[threading.Event]:
    """Yield the event that ends a server; say at the end that *what* has stopped, also after ^C."""
    with suppress(KeyboardInterrupt):  # it came before `stopping` took over, or a second time
        yield threading.Event()
    terminal.say(f"{what} stopped")
