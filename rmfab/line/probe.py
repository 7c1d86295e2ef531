"""A look at which board is on a slot, for a line that waits for the next board."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rmfab.board.port import ROM_BAUD, SerialPort, open_port
from rmfab.board.restart import Unwired
from rmfab.errors import RmfabError
from rmfab.line.connection import BoardConnection
from rmfab.line.station import Slot


@dataclass(frozen=True)
class Probe:
    """What is on a slot: the *board* by its MAC (by its chip if it reports no MAC), None if no board answers.

    *closed*: the board's download mode is closed, so it reports no MAC. *trouble* is an error that prevents the look
    and does not go away when a board is inserted. *silent* is the cause if the port is there and nothing on it answers:
    the slot is empty, or its board is dead. *absent*: there is no port, as long as a board with its own USB port is not
    plugged in. *fixture_open*: no board may start. *unreachable* is what is wrong with a port on the network that
    cannot be reached, with a hint.
    """

    board: str | None = None
    closed: bool = False
    trouble: RmfabError | None = None
    silent: str | None = None
    absent: bool = False
    fixture_open: bool = False
    unreachable: RmfabError | None = None

    @property
    def waiting(self) -> str:
        """The state of a slot without a board that answers, for people."""
        if self.unreachable is not None:
            return f"waiting: {self.unreachable.what}"
        if self.fixture_open:
            return "waiting: close the fixture"
        silent = self.silent
        return "waiting" if silent is None else f"waiting: a board may be in the slot but does not answer ({silent})"

    @property
    def missing(self) -> str:
        """What to do about a port that is not there, for people."""
        if self.unreachable is not None:
            return f"{self.unreachable.what}; {self.unreachable.hint}"
        return "there is no such port yet; if it does not come with a board, see `rmfab ports`"


def probe(slot: Slot, keep_going: Callable[[], None], finished: str | None = None) -> Probe:
    """Find out which board is on *slot*. *keep_going* raises to give up.

    Leave the board in its loader, for its first step; but let it run if it is the *finished* one, or may be.
    """
    port: SerialPort | None = None
    board: BoardConnection | None = None
    try:
        port = open_port(slot.link.address, keep_going)
        board = BoardConnection(slot.link, port, keep_going, ROM_BAUD)
        _, facts = board.into_loader()
        if finished is not None and facts.mac in (finished, None) and not isinstance(slot.link.restart, Unwired):
            board.restart()
        return Probe(facts.mac or facts.chip_name, closed=facts.mac is None)
    except RmfabError as error:
        return not_seen(slot, error)
    finally:
        if board is not None:
            board.close()
        elif port is not None:
            port.close()


def not_seen(slot: Slot, error: RmfabError) -> Probe:
    """Return what *error*, of a look at *slot*, says of it."""
    absent = error.cause == "port-absent"
    return Probe(
        trouble=error if error.cause in _LASTING else None,
        silent=error.cause if error.cause in _SILENT else None,
        absent=absent,
        unreachable=error if absent and "://" in slot.link.address else None,  # no board brings a server with it
    )


_SILENT = ("no-answer", "boot-mode", "loader-failed", "tx-path", "answer-stopped", "noise", "chip-unknown")
"""Nothing answers, or what does is cut off or garbled: an empty slot, a dead board, or a bad contact."""
_LASTING = ("port-busy", "port-denied", "port-failed", "fixture", "esptool-version", "no-modem-lines")
