"""A line that is ready to run: its events, the summary, and the error that determines the exit code."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rmfab.errors import InputError, IntegrityError, StationError, UnitsFailed
from rmfab.files import writer_in
from rmfab.ledger.events import Outcome, timestamp
from rmfab.line.code_desk import CodeDesk
from rmfab.line.events import LineEvent, Message, Summary, UnitEnded
from rmfab.line.floor import Floor
from rmfab.line.slot_book import OutOfService
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
                if self.floor.used_up:
                    yield self._used_up()
        except Exception as error:  # noqa: BLE001 - raised below, unless a unit's IntegrityError outranks it
            bug = error
        finally:
            if self.codes is not None:
                self.codes.close()
        self._raise_worst(bug)

    def _used_up(self) -> LineEvent:
        """Return the message that the loop has ended, with its totals."""
        job = self.floor.job
        what = f"batch {job.batch} is" if job.batch else f"all batches of {job.product.name} are"
        return Message(timestamp(job.now()), job.station, "", None, None, "info", f"{what} used up; {self.summary}")

    def _raise_worst(self, bug: Exception | None) -> None:
        found = [self.floor.stopped_by, *(unit.error for unit in self.ended)]
        integrity = next((error for error in found if isinstance(error, IntegrityError)), None)
        if integrity is not None:
            raise integrity
        if bug is not None:
            raise bug
        if self.floor.stopped:
            raise KeyboardInterrupt
        self._raise_failed()
        self._raise_unlabelled()
        self._raise_last()
        if not self.ended and (closed := self.floor.closed):
            raise _closed(closed)

    @property
    def _last(self) -> dict[str, UnitEnded]:
        """The last verdict of each slot, in the order of the slots: an error that was cured later is history."""
        last = {unit.slot: unit for unit in self.ended}
        return {name: last[name] for name in self.floor.names if name in last}

    def _raise_last(self) -> None:
        """Raise the error that stopped the line, or that of the slots whose last unit has no verdict of its own."""
        last, stopped_by = self._last, self.floor.stopped_by
        errors = {slot: unit.error for slot, unit in last.items() if unit.error is not None}
        for kind in (StationError, InputError):
            if isinstance(stopped_by, kind):
                raise stopped_by
            chosen = {slot: error for slot, error in errors.items() if isinstance(error, kind)}
            first = next(iter(chosen.values()), None)
            if first is not None and len(chosen) == 1:
                raise first
            if first is not None:
                named = [f"{slot} ({error.cause})" for slot, error in chosen.items()]
                causes = ", ".join(named[:_MOST_NAMED]) + (" …" if len(named) > _MOST_NAMED else "")
                raise kind(f"{len(chosen)} of {len(last)} slots ended with an error: {causes}", cause=first.cause)
        undecided = [slot for slot, unit in last.items() if unit.outcome in (Outcome.ERROR, Outcome.ABORTED)]
        if undecided:
            raise StationError(f"the last unit ended without a verdict of PASS or FAIL: {', '.join(undecided)}")

    def _raise_unlabelled(self) -> None:
        """Raise StationError if units passed without their labels, and nothing else went wrong."""
        lacking = self.summary.unlabelled
        if not lacking or any(unit.error is not None for unit in self._last.values()):
            return
        names = [unit.serial or unit.mac or unit.slot for unit in lacking]
        what = f"{names[0]} has" if len(names) == 1 else f"{len(names)} units have"
        raise StationError(f"{what} no label", hint=how_to_label(names), cause="label-missing")

    def _raise_failed(self) -> None:
        failures = self.summary.failures
        if not failures:
            return
        named = next((name for unit in failures if (name := unit.serial or unit.mac)), None)
        what = f"{len(failures)} of {self.summary.units} units failed"
        raise UnitsFailed(f"{what}; see `rmfab trace {named}`" if named else what)


def _closed(closed: Mapping[str, OutOfService]) -> StationError:
    """Return the error of a run of which no slot could start a board."""
    name, why = next(iter(closed.items()))
    others = f" (and {len(closed) - 1} more)" if len(closed) > 1 else ""
    return StationError(f"slot {name} is {why}{others}", hint=why.way_back(name), cause="slot-closed")


def how_to_label(serials: Sequence[str]) -> str:
    """Return the hint for units that lack their labels."""
    named = " ".join(serials[:_MOST_NAMED]) + (" …" if len(serials) > _MOST_NAMED else "")
    return f"`rmfab label {named} --print` prints what is missing; a label in doubt is asked for first"
