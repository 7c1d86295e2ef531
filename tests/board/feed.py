"""A port with bytes to read, and a console that reads it to its end, whatever the speed of the machine."""

from __future__ import annotations

from collections.abc import Iterator

from rmfab.board.unit_console import UnitConsole
from tests.patience import PATIENCE


class Feed:
    """A port that delivers *pieces*, each as soon as it is asked for."""

    timeout: float | None = None
    baudrate = 115200

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = [piece for piece in pieces if piece]

    @property
    def in_waiting(self) -> int:
        """What has arrived."""
        return len(self._pieces[0]) if self._pieces else 0

    def read(self, size: int = 1) -> bytes:
        """Return up to *size* bytes of the current piece."""
        if not self._pieces:
            return b""
        piece, self._pieces[0] = self._pieces[0][:size], self._pieces[0][size:]
        if not self._pieces[0]:
            del self._pieces[0]
        return piece


class _AtItsEnd(Exception):
    """Everything was read."""


class FeedConsole(UnitConsole):
    """A console of a Feed; `everything` ends when the feed does."""

    def __init__(self, port: Feed) -> None:
        super().__init__(port, "feed", self._look)  # type: ignore[arg-type]
        self._feed = port
        self._to_the_end = False

    def _look(self) -> None:
        if self._to_the_end and not self._feed.in_waiting:
            raise _AtItsEnd

    def everything(self) -> Iterator[str]:
        """Yield the lines that `lines` yields until the feed is at its end."""
        self._to_the_end = True
        try:
            yield from self.lines(PATIENCE)
        except _AtItsEnd:
            self._to_the_end = False


def console(*pieces: bytes) -> FeedConsole:
    """Return a console that reads *pieces*."""
    return FeedConsole(Feed(*pieces))
