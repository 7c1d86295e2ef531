"""What one slot shows, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import NamedTuple

from rmfab.errors import PortError
from rmfab.language.speech import marked
from rmfab.ledger.events import Outcome
from rmfab.line.events import Step, StepEnded, UnitEnded


@unique
class Look(StrEnum):
    """How a tile looks: the style's name. `LOOK_WORDS` has its word."""

    EMPTY = "empty"
    HELD = "held"
    WORKING = "working"
    PASS = "pass"  # noqa: S105
    MARGINAL = "marginal"
    FAIL = "fail"
    ERROR = "error"
    ABORTED = "aborted"
    SEEN = "seen"
    LOCKED = "locked"


LOOK_WORDS = {
    Look.EMPTY: marked("EMPTY"),
    Look.HELD: marked("READY"),
    Look.WORKING: marked("AT WORK"),
    Look.PASS: marked("PASS"),
    Look.MARGINAL: marked("PASS"),
    Look.FAIL: marked("FAIL"),
    Look.ERROR: marked("ERROR"),
    Look.ABORTED: marked("ABORTED"),
    Look.SEEN: marked("SEEN"),
    Look.LOCKED: marked("LOCKED"),
}
VERDICTS = {
    Outcome.PASS: Look.PASS,
    Outcome.MARGINAL: Look.MARGINAL,
    Outcome.FAIL: Look.FAIL,
    Outcome.ERROR: Look.ERROR,
    Outcome.ABORTED: Look.ABORTED,
    Outcome.SEEN: Look.SEEN,
}


@dataclass(frozen=True)
class Visited:
    """One run of a unit on a slot: its *steps* and its verdict, *ended*."""

    steps: tuple[StepEnded, ...]
    ended: UnitEnded

    @property
    def look(self) -> Look:
        """The verdict; MARGINAL if the unit passed with a step that was close to its limit."""
        look = VERDICTS.get(self.ended.outcome, Look.ERROR)
        close = any(step.outcome is Outcome.MARGINAL for step in self.steps)
        return Look.MARGINAL if look is Look.PASS and close else look

    @property
    def unit(self) -> str:
        """What the unit is called: its serial, else its MAC, else nothing."""
        return self.ended.serial or self.ended.mac or ""

    @property
    def marginal(self) -> StepEnded | None:
        """The first step that was close to its limit."""
        return next((step for step in self.steps if step.outcome is Outcome.MARGINAL), None)


class SlotNote(NamedTuple):
    """What the line says of a slot, and the *cause* that it is about, None for others."""

    text: str = ""
    cause: str | None = None


NO_NOTE = SlotNote()


@dataclass(frozen=True)
class Tile:
    """What *slot* shows.

    *step* is at work since *since*, *number* of *steps* steps, and has done *part* of it; the unit is at work since
    *began*. *last* is the last run here, *done* the steps of this one. *acknowledged*: the operator has seen that it
    failed. *gone*: its board was taken out. *held*: the next board is in the slot, and waits for the operator. *note*
    is what the line last said of the slot. *locked* is why it starts no board: a supervisor has to unlock it, or, if it
    is *disabled*, to enable it.
    """

    slot: str
    steps: int
    serial: str | None = None
    mac: str | None = None
    step: Step | None = None
    number: int = 0
    part: float | None = None
    since: float = 0.0
    began: float = 0.0
    done: tuple[StepEnded, ...] = ()
    last: Visited | None = None
    acknowledged: bool = False
    gone: bool = False
    held: bool = False
    note: SlotNote = NO_NOTE
    locked: str | None = None
    disabled: bool = False

    @property
    def look(self) -> Look:
        """How it looks. A verdict stays until the board is taken out.

        A FAIL also stays until it is acknowledged, and the error of a port that went away until the next board starts.
        """
        if self.locked is not None:
            return Look.LOCKED
        if self.step is not None:
            return Look.WORKING
        if self.last is not None and (not self.gone or self.wants_acknowledgement or self.lost_port):
            return self.last.look
        return Look.HELD if self.held else Look.EMPTY

    @property
    def wants_acknowledgement(self) -> bool:
        """Whether a FAIL waits for the operator."""
        failed = self.last is not None and self.last.ended.outcome is Outcome.FAIL
        return self.step is None and failed and not self.acknowledged

    @property
    def lost_port(self) -> bool:
        """Whether the last unit has an error of its port, which nobody may have seen yet if the port is gone."""
        return self.last is not None and isinstance(self.last.ended.error, PortError)

    @property
    def unit(self) -> str:
        """What the unit is called: its serial, else its MAC, else nothing; nothing too once its board is out."""
        if self.look in (Look.EMPTY, Look.HELD):
            return ""
        return self.serial or self.mac or ""

    def is_unit(self, name: str) -> bool:
        """Return whether *name* is the serial or MAC of the unit here."""
        return bool(self.unit) and name.lower() in ((self.serial or "").lower(), (self.mac or "").lower())
