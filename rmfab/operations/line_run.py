"""A line that is ready to run: its events, the summary, and the error that determines the exit code."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rmfab.errors import InputError, IntegrityError, RmfabError, StationError, UnitsFailed
from rmfab.files import writer_in
from rmfab.ledger.events import Outcome
from rmfab.line.code_desk import CodeDesk
from rmfab.line.events import LineEvent, Summary, UnitEnded
from rmfab.line.floor import Floor
from rmfab.line.station import Slot
from rmfab.operations.run_files import NO_FILES, RunFiles

_MOST_NAMED = 8


@dataclass
class LineRun:
    """A line, ready to run on *slots*, with its console logs in *logs*. *asks*: codes are scanned while it runs.
    *files*: what it writes besides the ledger.

    *ended* and *summary* grow while `events` is read.
    """

    floor: Floor
    slots: tuple[Slot, ...]
    logs: Path
    codes: CodeDesk | None = None
    asks: bool = False
    files: RunFiles = NO_FILES
    summary: Summary = field(default_factory=Summary)
    ended: list[UnitEnded] = field(default_factory=list)

    def stop(self) -> None:
        """Abort every unit as soon as its step waits."""
        self.floor.stop()

    def events(self) -> Generator[LineEvent, None, None]:
        """Run the line and yield its events as they happen.

        After every slot has ended, raise the error that determines the exit code: IntegrityError, a bug,
        KeyboardInterrupt after `stop`, UnitsFailed, StationError or InputError, in this order.
        """
        bug: Exception | None = None
        try:
            with writer_in(self.logs), self.files:
                for event in self.floor.events():
                    if isinstance(event, UnitEnded):
                        self.summary.count(event)
                        self.ended.append(event)
                    self.files.take(event)
                    yield event
        except Exception as error:  # noqa: BLE001 - raised below, unless a unit's IntegrityError outranks it
            bug = error
        finally:
            if self.codes is not None:
                self.codes.close()
        self._raise_worst(bug)

    def _raise_worst(self, bug: Exception | None) -> None:
        errors = [error for error in (self.floor.stopped_by, *(unit.error for unit in self.ended)) if error is not None]
        integrity = _first(errors, IntegrityError)
        if integrity is not None:
            raise integrity
        if bug is not None:
            raise bug
        if self.floor.stopped:
            raise KeyboardInterrupt
        self._raise_failed()
        self._raise_unlabelled()
        for kind in (StationError, InputError):
            chosen = _first(errors, kind)
            if chosen is not None:
                raise chosen
        undecided = self.summary.errors + self.summary.aborted
        if undecided:
            raise StationError(f"{undecided} of {len(self.ended)} units ended without a verdict of PASS or FAIL")

    def _raise_unlabelled(self) -> None:
        """Raise StationError if units passed without their labels, and nothing else went wrong."""
        lacking = [unit for unit in self.ended if unit.lacks_label]
        if not lacking or any(unit.error is not None for unit in self.ended):
            return
        names = [unit.serial or unit.mac or unit.slot for unit in lacking]
        what = f"{names[0]} has" if len(names) == 1 else f"{len(names)} units have"
        raise StationError(f"{what} no label", hint=how_to_label(names), cause="label-missing")

    def _raise_failed(self) -> None:
        if not self.summary.failed:
            return
        named = next((unit.serial or unit.mac for unit in self.ended if unit.outcome is Outcome.FAIL), None)
        tail = f"; see `rmfab trace {named}`" if named else ""
        raise UnitsFailed(f"{self.summary.failed} of {len(self.ended)} units failed{tail}")


def how_to_label(serials: Sequence[str]) -> str:
    """Return the hint for units that lack their labels."""
    named = " ".join(serials[:_MOST_NAMED]) + (" …" if len(serials) > _MOST_NAMED else "")
    return f"`rmfab label {named} --print` prints what is missing; a label in doubt is asked for first"


def _first(errors: list[RmfabError], kind: type[RmfabError]) -> RmfabError | None:
    return next((error for error in errors if isinstance(error, kind)), None)
