"""The worker of one slot: runs the steps on its board in order, reports events, and keeps the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from rmfab.board.port import open_port
from rmfab.errors import IntegrityError, PortError, RmfabError, StationError, UnitFault
from rmfab.ledger.events import Outcome, timestamp
from rmfab.ledger.states import State, allowed
from rmfab.line.connection import BoardConnection
from rmfab.line.console_log import write_console_log
from rmfab.line.ending import Aborted, Ending, NoLabel, Passed, Skipped, ending_of, judge_error
from rmfab.line.events import LabelState, LineEvent, Message, Origin, Step, StepStarted, UnitEnded
from rmfab.line.job import Job
from rmfab.line.listening import judge_meanwhile
from rmfab.line.recorder import Recorder
from rmfab.line.retries import Again, Tries, start_of, what_of
from rmfab.line.stages import AsNew, Identified, OnSlot, Running, Stage
from rmfab.line.starts import StopSignal
from rmfab.line.station import Slot
from rmfab.line.step_limits import StepOverdue, limit_of
from rmfab.line.step_order import take_step
from rmfab.line.step_record import StepRecord, UnitRecord
from rmfab.line.unit_state import wanted_state
from rmfab.line.visit import Visit

Tell = Callable[[LineEvent], None]


class Worker:
    """A worker for one board of *slot*; `run` is called once."""

    def __init__(self, job: Job, slot: Slot, tell: Tell, stop: StopSignal) -> None:
        self._job = job
        self._slot = slot
        self._tell = tell
        self._stop = stop
        self._recorder = Recorder(job)
        self._stage: Stage = OnSlot()
        self._started = time.monotonic()
        self._limit: tuple[Step, float, float] | None = None  # the step, its limit, and when that is reached
        self._leaving = False
        self._tries = Tries(job.steps, whole=job.product.verify.retry)
        self._stages: dict[int, Stage] = {}  # where the attempts at a group of steps start, by the index of its first
        self._recovers = False

    def run(self) -> UnitEnded:
        """Run the steps until one does not pass, and report the verdict."""
        try:
            port = open_port(self._slot.link.address, self._keep_going)
        except (RmfabError, Aborted) as error:
            return self._end(Origin(self._now(), self._job.station, self._slot.name, None, None), judge_error(error))
        self._job.opening.open_meanwhile()
        board = BoardConnection(self._slot.link, port, self._keep_going, self._job.console_baud)
        visit = Visit(self._job, self._slot, self._tell, self._keep_going, board, self._recorder)
        try:
            worst = self._run_steps(visit)
            self._take_network_back(visit)
            self._leaving = True
            self._leave_running(visit, worst)
        finally:
            visit.until_end.close()
            board.close()
        log = write_console_log(visit)
        return self._end(visit.origin(), worst, log, visit.label)

    def _keep_going(self) -> None:
        """Raise Aborted if the operator has stopped the line, StepOverdue if the step has reached its limit.

        Neither cuts short how a board is left behind.
        """
        if self._leaving:
            return
        if self._stop.is_set():
            raise Aborted
        if self._limit is not None and time.monotonic() >= self._limit[2]:
            raise StepOverdue(*self._limit[:2], self._slot.link.address)

    def _take(self, visit: Visit, step: Step) -> Passed[Stage]:
        """Run *step* within its limit, which starts when the firmware to write is compressed."""
        if step is Step.FLASH and self._job.firmware is not None:
            self._job.firmware.wait(visit.keep_going)
        seconds = limit_of(step, self._job)
        self._limit = None if seconds is None else (step, seconds, time.monotonic() + seconds)
        try:
            visit.keep_going()
            self._recover(visit, step)
            return self._watched(visit, step)
        except RmfabError as error:
            if self._stop.is_set() and not isinstance(error, IntegrityError):
                raise Aborted from error  # ^C may end what the step talks to before it ends the step
            raise
        finally:
            self._limit = None

    def _recover(self, visit: Visit, step: Step) -> None:
        """Before a further attempt, open the port again, and check that it is still the same board."""
        if not self._recovers:
            return
        visit.board.recover()
        if step is not Step.DETECT and visit.board.mac is not None and not self._job.built.closes_download_mode:
            visit.board.into_loader()
        self._recovers = False

    def _now(self) -> str:
        return timestamp(self._job.now())

    def _run_steps(self, visit: Visit) -> Ending:
        steps, index = self._job.steps, 0
        while index < len(steps):
            self._stages.setdefault(start_of(steps, index), self._stage)
            ending, again = self._step(visit, steps[index], index)
            if again is not None:
                index, self._stage, self._recovers = again.start, self._stages[again.start], True
            elif ending.good:
                index += 1
            else:
                return self._verdict(ending)
        return Ending(Outcome.PASS)

    def _verdict(self, ending: Ending) -> Ending:
        """Return the verdict of a unit of which a step did not pass.

        A unit that passed all its tests keeps its PASS without a label, unless the product requires one.
        """
        if not isinstance(ending.error, NoLabel) or self._job.product.label.required:
            return ending
        return Ending(Outcome.PASS, ending.cause, f"label missing: {ending.reason}")

    def _step(self, visit: Visit, step: Step, index: int | None = None) -> tuple[Ending, Again | None]:
        """Run and record *step*, the one at *index* of the job's; return how it ended, and the attempt that follows.

        One without an *index* proves nothing, and so does not change the unit's state, as one that is tried again.
        """
        self._tell(StepStarted(*visit.origin(), step))
        visit.began = time.monotonic()
        visit.measured = {}
        try:
            passed = self._take(visit, step)
        except Exception as error:  # noqa: BLE001 - judged and recorded; the floor raises a bug again
            ending = replace(judge_error(error), measurements=visit.measured)
        else:
            self._stage = passed.stage
            ending = ending_of(passed)
        ending = _redacted(visit, self._blamed(visit, ending))
        if index is None:
            return self._record(visit, step, ending, None), None
        ending = self._tries.judged(index, ending)
        ending, again = self._again(visit, index, ending)
        state = None if again else self._next_state(visit, step, ending)
        return self._record(visit, step, ending, state), again

    def _blamed(self, visit: Visit, ending: Ending) -> Ending:
        """Return *ending*, as the slot's fault if its boards before ended in the same way."""
        book, mac = self._job.slots, visit.board.mac
        if ending.outcome is not Outcome.FAIL or book is None or mac is None:
            return ending
        try:
            if not book.is_slots_fault(visit.slot, mac, ending.cause):
                return ending
        except RmfabError:  # said when the board is counted
            return ending
        fault = StationError(
            f"{ending.reason}; other boards of this slot had the same",
            where=visit.slot.name,
            hint="check the power supply, the hub and the cable of the slot",
            cause="slot-fault",
        )
        return replace(judge_error(fault), measurements=ending.measurements)

    def _again(self, visit: Visit, index: int, ending: Ending) -> tuple[Ending, Again | None]:
        """Return *ending* with how the step is tried again, and that attempt; None if it is not."""
        again = None if visit.board.unwired or visit.holds_network else self._tries.after(index, ending)
        baud = visit.board.slow_down() if again and again.slower else None
        if again is None or (again.slower and baud is None):
            return ending, None
        self._tries.start(again, index, ending)
        how = "as it was" if baud is None else f"at {baud} baud"
        visit.say(f"{self._job.steps[index]}: {what_of(ending)}; trying it again {how}")
        return replace(ending, measurements={**ending.measurements, "retry": how}), again

    def _watched(self, visit: Visit, step: Step) -> Passed[Stage]:
        """Run *step*. If the unit died or restarted meanwhile, the step fails, and that is the reason."""
        try:
            passed = take_step(step, visit, self._stage)
        except (UnitFault, StationError, Skipped):
            with suppress(PortError):
                judge_meanwhile(visit)
            raise
        judge_meanwhile(visit)
        return passed

    def _record(self, visit: Visit, step: Step, ending: Ending, state: State | None) -> Ending:
        """Record the step in the ledger and report it. If the ledger refuses the record, that is how the step ended."""
        record = StepRecord(visit.origin(), step, ending, time.monotonic() - visit.began, state)
        try:
            record = self._recorder.step(record)
        except RmfabError as error:
            record = replace(record, ending=_redacted(visit, judge_error(error)), state=None)
        visit.state = record.state or visit.state
        self._tell(record.for_stream())
        return record.ending

    def _next_state(self, visit: Visit, step: Step, ending: Ending) -> State | None:
        current, wanted = visit.state, wanted_state(self._job.steps, step, ending)
        if visit.record is None or current is None or wanted is None:
            return None
        if wanted is current and wanted is not State.FLASHED:
            return None
        if allowed(current, wanted, flashed=visit.record.standing.flashed_ts is not None):
            return wanted
        if wanted is State.VERIFIED:
            serial = visit.record.serial
            visit.warn(f"{serial} stays {current}: it was not flashed since; run it again (`rmfab run`)")
        return None

    def _take_network_back(self, visit: Visit) -> None:
        """Reset a unit that was given the factory network but did not reach its reset; the record says so."""
        if not visit.holds_network:
            return
        ending, _ = self._step(visit, Step.RESET)
        _raise_bug(ending)
        if visit.holds_network:
            visit.warn(f"the unit still holds the factory network ({ending.reason}); use `rmfab reset` to remove it")

    def _leave_running(self, visit: Visit, worst: Ending) -> None:
        """Restart a board that is still in its loader, where it would look dead; not if the step `boot` failed."""
        booted = isinstance(self._stage, Running | Identified | AsNew) or worst.outcome is Outcome.SEEN
        if not visit.board.in_loader or (Step.BOOT in self._job.steps and not booted):
            return
        try:
            visit.board.restart()
        except RmfabError as error:
            visit.warn(f"cannot restart the board: {error}")

    def _end(self, origin: Origin, worst: Ending, log: str | None = None, label: LabelState | None = None) -> UnitEnded:
        """Record the verdict in the ledger and report it. A PASS that the ledger refuses is none."""
        record = UnitRecord(origin, worst, time.monotonic() - self._started, log, self._job.root, label)
        try:
            self._recorder.unit(record)
        except RmfabError as refused:
            self._tell(Message(*origin, "warning", f"cannot record the verdict in the ledger: {refused}"))
            record = replace(record, ending=_unrecorded(worst, refused))
        ended = record.for_stream()
        self._tell(ended)
        _raise_bug(worst)
        return ended


def _raise_bug(ending: Ending) -> None:
    """Raise the error of *ending* if it is no expected one."""
    if ending.error is not None and not isinstance(ending.error, (RmfabError, Aborted)):
        raise ending.error


def _unrecorded(worst: Ending, refused: RmfabError) -> Ending:
    """Return the verdict *worst* after the ledger has *refused* it: a bad unit stays bad; the line may have to end."""
    if worst.good:
        return judge_error(refused)
    stops = isinstance(refused, IntegrityError) and not isinstance(worst.error, IntegrityError)
    return replace(worst, error=refused) if stops else worst


def _redacted(visit: Visit, ending: Ending) -> Ending:
    return ending if ending.reason is None else replace(ending, reason=visit.redacted(ending.reason))
