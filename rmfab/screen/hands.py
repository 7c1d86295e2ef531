"""The hands of the operator: what keys and scans do to the line. The screen calls them; tests have their own."""

from __future__ import annotations

from typing import Protocol


class Hands(Protocol):
    """What the screen can do to the line. Each call returns at once."""

    def acknowledge(self, slot: str) -> None:
        """Let *slot* go on after a unit that failed."""

    def start(self, slot: str) -> None:
        """Start the board on *slot*, or the one that has its verdict again."""

    def abort(self, slot: str) -> bool:
        """Abort the unit on *slot*; return whether there is one."""

    def unlock(self, slot: str) -> bool:
        """Put *slot* into service again, for a supervisor; return whether it was locked."""

    def reprint(self, slot: str, serial: str) -> str | None:
        """Print the label of the unit *serial* on *slot* again; return why not, in English, or None.

        What becomes of it is told as a message.
        """

    def finish(self) -> None:
        """Start no more boards."""

    def stop(self) -> None:
        """Abort every unit."""

    def unit_of(self, payload: str) -> str | None:
        """Return the serial of the unit with this QR *payload*; None if it is of no unit."""

    def enter(self, operator: str) -> str | None:
        """Let *operator* work here from now on; return why not, in English, or None."""

    def close(self) -> None:
        """Wait for what goes on, once the line is stopped."""

    def learn(self, serial: str) -> None:
        """Look up what the label of the unit *serial* calls it. Raise RmfabError if the ledger does not answer."""

    @property
    def printer(self) -> str:
        """The state of the printer in a word, empty if the line prints no labels."""

    def console(self, log: str | None) -> tuple[str, ...]:
        """Return the last lines of the console log *log*, which has no secrets."""
