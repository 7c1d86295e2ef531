"""Starts and stops of single slots: the operator's hand on a line that runs, by key, scan or a fixture's command.

Without a screen, a board that appears starts, and only the whole line is stopped.
"""

from __future__ import annotations

import threading
from typing import Protocol

from rmfab.ledger.events import Outcome


class StopSignal(Protocol):
    """What tells a worker to give up its unit; a `threading.Event` is one."""

    def is_set(self) -> bool:
        """Return whether to give up."""


class UnitStop:
    """The stop of one unit: its own, or that of the whole *line*."""

    def __init__(self, line: StopSignal) -> None:
        self._line = line
        self._own = threading.Event()

    def is_set(self) -> bool:
        """Return whether the unit or the line is stopped."""
        return self._own.is_set() or self._line.is_set()

    def set(self) -> None:
        """Stop the unit."""
        self._own.set()


class Starts:
    """Which slots may start a board. Usable from every thread.

    *acknowledged*: a slot whose unit has failed starts no other board before `acknowledge`. *by_hand*: every board
    waits for `start`.
    """

    def __init__(self) -> None:
        self.acknowledged = False
        self.by_hand = False
        self._changing = threading.Lock()
        self._held: set[str] = set()
        self._wanted: set[str] = set()
        self._again: set[str] = set()
        self._units: dict[str, UnitStop] = {}

    def acknowledge(self, slot: str) -> None:
        """Let *slot* go on after a unit that failed."""
        with self._changing:
            self._held.discard(slot)

    def start(self, slot: str) -> None:
        """Start the board on *slot*: the next one, or, if its unit has its verdict, the same one again."""
        with self._changing:
            self._held.discard(slot)
            self._wanted.add(slot)
            self._again.add(slot)

    def abort(self, slot: str) -> bool:
        """Abort the unit on *slot*; return whether there is one."""
        with self._changing:
            unit = self._units.get(slot)
            if unit is not None:
                unit.set()
        return unit is not None

    def allows(self, slot: str, *, new: bool, closed: bool = False) -> bool:
        """Return whether the board that was found on *slot* is to be started.

        *new*: it is not the last one. *closed*: its fixture was closed, which is a start by hand.
        """
        with self._changing:
            if slot in self._held or not (new or slot in self._again):
                return False
            return closed or not self.by_hand or slot in self._wanted

    def began(self, slot: str, line: StopSignal) -> UnitStop:
        """Note that a unit has started on *slot*; return what stops it, alone or with the *line*."""
        with self._changing:
            self._wanted.discard(slot)
            self._again.discard(slot)
            stop = self._units[slot] = UnitStop(line)
        return stop

    def ended(self, slot: str, outcome: Outcome) -> None:
        """Note the verdict of the unit on *slot*."""
        with self._changing:
            del self._units[slot]
            if self.acknowledged and outcome is Outcome.FAIL:
                self._held.add(slot)

    def emptied(self, slot: str) -> None:
        """Note that no board is on *slot*: the wish to run the last one again has ended with it."""
        with self._changing:
            self._again.discard(slot)
