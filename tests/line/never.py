"""Waits for what never comes, cut short for one board while all others keep their long limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator
from types import SimpleNamespace

import pytest

from rmfab.board.bootlog import BootLog
from rmfab.board.port import open_port
from rmfab.board.unit_console import UnitConsole
from rmfab.errors import PortError
from rmfab.line import listening
from rmfab.provisioning.http import HttpTransport
from tests.patience import PATIENCE

SHORTLY = 0.5


def nobody_answers(patch: pytest.MonkeyPatch, unanswered: Collection[tuple[str, str]]) -> None:
    """Wait shortly for the answer of a unit, by its URL, and its endpoint, if both are in *unanswered*."""
    exchange = HttpTransport.exchange

    def hurried(link: HttpTransport, endpoint: str, data: bytes) -> bytes:
        if (link.url, endpoint) in unanswered:
            link._timeout = SHORTLY
        return exchange(link, endpoint, data)

    patch.setattr(HttpTransport, "exchange", hurried)


def stays_silent(patch: pytest.MonkeyPatch, address: str) -> None:
    """Listen shortly to the console of the board at *address*."""
    read = listening._boot_lines

    def hurried(console: UnitConsole, log: BootLog, *, seconds: float) -> Iterator[str]:
        return read(console, log, seconds=min(seconds, SHORTLY) if console._address == address else seconds)

    patch.setattr(listening, "_boot_lines", hurried)


def stays_away(patch: pytest.MonkeyPatch, address: str) -> None:
    """Give up on the port at *address* when it is found to be gone: the clock of its line leaps past every limit."""
    line = threading.local()

    def opened(wanted: str, *rest: object) -> object:
        try:
            return open_port(wanted, *rest)  # type: ignore[arg-type]
        except PortError:
            if wanted == address:
                line.leaps = getattr(line, "leaps", 0) + 1
            raise

    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + getattr(line, "leaps", 0) * PATIENCE, sleep=time.sleep)
    patch.setattr("rmfab.line.connection.open_port", opened)
    patch.setattr("rmfab.line.connection.time", clock)
