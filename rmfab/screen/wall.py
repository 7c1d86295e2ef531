"""The wall of tiles: the model of the screen. Events of the line and orders of the operator in, tiles and numbers out.

It opens nothing and reads no clock; what happens in the world because of an order is done by whoever calls it.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rmfab.errors import RmfabError
from rmfab.line.events import (
    LineEvent,
    Message,
    SlotHeld,
    SlotService,
    SlotWaiting,
    Step,
    StepEnded,
    StepProgress,
    StepStarted,
    Stopped,
    UnitEnded,
)
from rmfab.line.station import closest
from rmfab.report.unit_tally import UnitTally, UnitVerdict
from rmfab.screen.tile import NO_NOTE, Look, SlotNote, Tile, Visited

_DURATIONS = 20
_ATTEMPTS = 20
_MESSAGES = 50


@dataclass(frozen=True)
class Heading:
    """What does not change while the line runs: the names of the first line, and the *steps* of a unit."""

    product: str
    station: str
    steps: tuple[Step, ...]
    batch: str = ""
    release: str = ""


@dataclass(frozen=True)
class Past:
    """Verdicts before this run. *whole*: all of this day and shift here, else those of one unit that came back."""

    verdicts: tuple[UnitVerdict, ...]
    whole: bool


class Wall:
    """The tiles of *slots*, in the station's order, with the numbers of this run.

    It *remembers* the day and the shift before it once `recall` was told of them.
    """

    def __init__(self, heading: Heading, slots: Sequence[str], now: float) -> None:
        self.heading = heading
        self.tiles = {slot: Tile(slot, len(heading.steps)) for slot in slots}
        self.tally = UnitTally()
        self.remembers = False
        self.began = now
        self.messages: deque[Message] = deque(maxlen=_MESSAGES)
        self.stopped: RmfabError | None = None
        self._durations: dict[Step, deque[float]] = {}
        self._visits: dict[str, deque[Visited]] = {slot: deque(maxlen=_ATTEMPTS) for slot in slots}

    def take(self, event: LineEvent, now: float) -> None:
        """Take in one event of the line."""
        tile = self.tiles.get(event.slot)
        self.tally.note(event)
        if isinstance(event, Stopped):
            self.stopped = event.error
        if isinstance(event, Message):
            self.messages.append(event)
        if tile is not None:
            self.tiles[event.slot] = self._changed(tile, event, now)

    def _changed(self, tile: Tile, event: LineEvent, now: float) -> Tile:
        match event:
            case StepStarted():
                return self._started(tile, event, now)
            case StepProgress() if tile.step is event.step:
                return replace(tile, part=event.done / max(1, event.total))
            case StepEnded():
                self._durations.setdefault(event.step, deque(maxlen=_DURATIONS)).append(event.seconds)
                return replace(tile, done=(*tile.done, event), serial=event.serial, mac=event.mac)
            case UnitEnded():
                return self._ended(tile, event)
            case SlotWaiting():
                return replace(tile, gone=True, held=False, note=SlotNote(event.found))
            case SlotHeld():
                return replace(tile, held=True)
            case SlotService():
                return replace(tile, locked=event.reason, disabled=event.reason is not None and not event.locked)
            case Message():
                return replace(tile, note=SlotNote(event.text, event.about))
        return tile

    def _started(self, tile: Tile, event: StepStarted, now: float) -> Tile:
        steps = self.heading.steps
        number = steps.index(event.step) + 1 if event.step in steps else tile.number
        began, done = (tile.began, tile.done) if tile.step is not None or tile.done else (now, ())
        return replace(
            tile, step=event.step, number=number, part=None, since=now, began=began, done=done, held=False,
            note=NO_NOTE, serial=event.serial, mac=event.mac,
        )  # fmt: skip

    def _ended(self, tile: Tile, event: UnitEnded) -> Tile:
        visited = Visited(tile.done, event)
        self._visits[event.slot].append(visited)
        return replace(
            tile, step=None, part=None, done=(), last=visited, acknowledged=False, gone=False, held=False,
            serial=event.serial, mac=event.mac, note=NO_NOTE,
        )  # fmt: skip

    def recall(self, past: Past) -> None:
        """Take in what the ledger has of the time before this run."""
        self.remembers |= past.whole
        for verdict in past.verdicts:
            (self.tally.add if past.whole else self.tally.add_first)(verdict)

    def acknowledge(self, slot: str) -> bool:
        """Note that the operator has seen the FAIL on *slot*; return whether there was one."""
        wanted = self.tiles[slot].wants_acknowledgement
        if wanted:
            self.tiles[slot] = replace(self.tiles[slot], acknowledged=True)
        return wanted

    def expected(self, step: Step) -> float | None:
        """Return how long *step* takes, in seconds: the median of its last runs; None before the first."""
        known = self._durations.get(step)
        return statistics.median(known) if known else None

    def visits(self, slot: str) -> tuple[Visited, ...]:
        """Return the last runs on *slot*, the newest first."""
        return tuple(reversed(self._visits[slot]))

    def slot_of(self, name: str) -> str | None:
        """Return the slot that *name* names, by its own name or by its unit's serial or MAC; None if there is none."""
        wanted = name.lower()
        for slot, tile in self.tiles.items():
            if slot.lower() == wanted or tile.is_unit(name):
                return slot
        return None

    def nearest(self, name: str) -> str | None:
        """Return the slot whose name *name* is most like; None if none is, or several."""
        known = {slot.lower(): slot for slot in self.tiles}
        return next((known[one] for one in closest(name.lower(), known)), None)

    @property
    def waiting_for_operator(self) -> tuple[str, ...]:
        """The slots with a FAIL that nobody has acknowledged."""
        return tuple(slot for slot, tile in self.tiles.items() if tile.wants_acknowledgement)

    @property
    def at_work(self) -> int:
        """How many slots are at work."""
        return sum(tile.look is Look.WORKING for tile in self.tiles.values())
