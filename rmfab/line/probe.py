"""Looks which board is on a slot, for a line that waits for the next one."""

from __future__ import annotations

from dataclasses import dataclass

from rmfab.board.esp.loader import Loader
from rmfab.board.port import SerialPort, open_port
from rmfab.errors import RmfabError
from rmfab.line.station import Slot


@dataclass(frozen=True)
class Probe:
    """What is on a slot: the *board* by its MAC (by its chip where it does not tell one), None where none answers.

    *closed*: its download mode is, so that it tells none. *trouble* is what keeps the slot from being looked at, and
    does not go away by putting a board in.
    """

    board: str | None = None
    closed: bool = False
    trouble: RmfabError | None = None


def probe(slot: Slot) -> Probe:
    """Looks which board is on *slot*, and leaves it in its loader."""
    port: SerialPort | None = None
    try:
        port = open_port(slot.link.address)
        facts = Loader(port, slot.link).connect()
        return Probe(facts.mac or facts.chip_name, closed=facts.mac is None)
    except RmfabError as error:
        return Probe(trouble=error if error.cause in _LASTING else None)
    finally:
        if port is not None:
            port.close()


_LASTING = ("port-busy", "port-denied", "port-failed", "fixture", "esptool-version")
