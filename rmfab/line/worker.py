"""Works on the board of one slot: runs the steps in order, tells what happens, and keeps the ledger.

A step passes, or its exception says who is to blame: `UnitFault` and `BoardRefused` the unit (FAIL), every other
expected error the station (ERROR), `Aborted` the operator. What is unexpected is a bug and ends as ERROR as well.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rmfab.board.esp.door import said
from rmfab.board.esp.facts import BoardRefused
from rmfab.board.esp.loader import Loader
from rmfab.board.port import SerialPort, open_port
from rmfab.errors import IntegrityError, RmfabError, UnitFault
from rmfab.files import write_file
from rmfab.ledger.events import Event, EventKind, Outcome, timestamp
from rmfab.ledger.states import State, allowed
from rmfab.line import clearing, loading, owning, proving
from rmfab.line.events import LineEvent, Message, Step, StepEnded, StepStarted, UnitEnded
from rmfab.line.job import Job
from rmfab.line.station import Slot
from rmfab.line.unit import Aborted, Marginal, Skipped, Unit
from rmfab.secret import redact

Tell = Callable[[LineEvent], None]


def label(_: Unit) -> dict[str, Any]:
    """Prints the unit's label."""
    raise Skipped("no printer is configured; `rmfab label` makes sheets and pictures")


STEPS: Mapping[Step, Callable[[Unit], dict[str, Any] | Marginal]] = {
    Step.DETECT: loading.detect,
    Step.CLAIM: loading.claim,
    Step.FLASH: loading.flash,
    Step.READBACK: loading.readback,
    Step.BOOT: proving.boot,
    Step.IDENTIFY: proving.identify,
    Step.PROVISION: owning.provision,
    Step.RESET: clearing.reset,
    Step.LABEL: label,
}
_GOOD = (Outcome.PASS, Outcome.MARGINAL, Outcome.SKIP)


@dataclass(frozen=True)
class Ending:
    """How a step ended: its outcome, the cause and reason where it did not pass, and the error behind them."""

    outcome: Outcome
    cause: str | None = None
    reason: str | None = None
    measurements: Mapping[str, Any] | None = None
    error: Exception | None = None


def judge_error(error: Exception) -> Ending:
    """Who is to blame for *error*. Pure."""
    if isinstance(error, Aborted):
        return Ending(Outcome.ABORTED, "aborted", "stopped by the operator", error=error)
    if isinstance(error, Skipped):
        return Ending(Outcome.SKIP, None, str(error))
    if isinstance(error, RmfabError):
        unit_is_bad = isinstance(error, (UnitFault, BoardRefused, IntegrityError))
        reason = f"{error.what}; {error.hint}" if error.hint else error.what
        return Ending(Outcome.FAIL if unit_is_bad else Outcome.ERROR, error.cause, reason, error=error)
    return Ending(Outcome.ERROR, "bug", f"a bug in rmfab: {type(error).__name__}", error=error)


def _ended(result: dict[str, Any] | Marginal) -> Ending:
    if isinstance(result, Marginal):
        return Ending(Outcome.MARGINAL, result.cause, result.reason, result.measurements)
    return Ending(Outcome.PASS, measurements=result)


class Worker:
    """Works on one board of *slot*; told to `run` once."""

    def __init__(self, job: Job, slot: Slot, tell: Tell, stop: threading.Event) -> None:
        self._job = job
        self._slot = slot
        self._tell = tell
        self._stop = stop
        self._unit: Unit | None = None
        self._state: State | None = None
        self._started = time.monotonic()

    def run(self) -> UnitEnded:
        """Runs every step until one does not pass, and tells the verdict."""
        try:
            port = open_port(self._slot.link.address)
        except RmfabError as error:
            return self._end(judge_error(error), None)
        self._unit = unit = Unit(self._job, self._slot, self._tell, self._stop, port)
        worst = Ending(Outcome.PASS)
        try:
            for step in self._job.steps:
                ending = self._step(step)
                if ending.outcome not in _GOOD:
                    worst = ending
                    break
            self._take_network_back(unit)
            self._leave_running(unit)
        finally:
            port.close()
        return self._end(worst, self._write_log(unit))

    def _step(self, step: Step) -> Ending:
        unit = self._unit
        if unit is None:
            raise ValueError("the port is not open")
        self._tell(StepStarted(*self._where(), step))
        began = time.monotonic()
        unit.measured = {}
        try:
            unit.keep_going()
            ending = _ended(STEPS[step](unit))
        except Exception as error:  # noqa: BLE001 - judged below, recorded and told; a bug is raised again by the floor
            ending = replace(judge_error(error), measurements=unit.measured)
        seconds = time.monotonic() - began
        ending = self._record(step, ending, seconds)
        self._tell(
            StepEnded(
                *self._where(),
                step,
                ending.outcome,
                ending.cause,
                self._redacted(ending.reason),
                seconds,
                ending.measurements or {},
            )
        )
        return ending

    def _record(self, step: Step, ending: Ending, seconds: float) -> Ending:
        """Puts the step into the ledger; where that fails, the step has failed with it."""
        event = Event(
            timestamp(self._job.now()),
            EventKind.STEP,
            serial=self._unit.serial if self._unit else None,
            mac=self._unit.mac if self._unit else None,
            slot=self._slot.name,
            step=step.value,
            outcome=ending.outcome,
            state=self._next_state(step, ending),
            cause=ending.cause,
            reason=self._redacted(ending.reason),
            seconds=seconds,
            details=dict(ending.measurements or {}),
        )
        try:
            self._job.ledger.record(self._job.station, [event])
        except RmfabError as error:
            return judge_error(error)
        if event.state is not None:
            self._state = event.state
        return ending

    def _next_state(self, step: Step, ending: Ending) -> State | None:
        unit = self._unit
        if unit is None or unit.binding is None:
            return None
        current = self._state or unit.binding.state
        wanted = State.FAILED if ending.outcome is Outcome.FAIL else None
        if ending.outcome in _GOOD:
            wanted = self._reaches(step)
        if wanted is None or (wanted is current and wanted is not State.FLASHED):
            return None
        if not allowed(current, wanted, flashed=unit.binding.standing.flashed_ts is not None):
            if wanted is State.VERIFIED:
                self._warn(f"{unit.serial} stays {current}: it was not flashed since; `rmfab run` brings it back")
            return None
        return wanted

    def _reaches(self, step: Step) -> State | None:
        """The state of a unit that has come through *step*: verified by the last of the proofs that are asked for.

        A factory reset after the proofs is one of them: a unit that did not leave clean is not done.
        """
        if step is Step.READBACK:
            return State.FLASHED
        if Step.IDENTIFY not in self._job.steps:
            return None
        proofs = [one for one in self._job.steps if one in (Step.IDENTIFY, Step.PROVISION, Step.RESET)]
        return State.VERIFIED if step is proofs[-1] else None

    def _take_network_back(self, unit: Unit) -> None:
        """Resets a unit that was given the factory network and then did not come as far as its reset."""
        if not unit.holds_network:
            return
        try:
            clearing.reset(unit)
        except (RmfabError, Aborted) as error:
            why = str(error) or "stopped by the operator"
            self._warn(f"the unit still holds the factory network ({why}); `rmfab reset` takes it away")

    def _leave_running(self, unit: Unit) -> None:
        """Restarts a board that only the loader was asked to work on, or after its boot: left there it looks dead."""
        if unit.loader is None or unit.facts is None or (Step.BOOT in self._job.steps and unit.boot_log is None):
            return
        try:
            proving.restart(unit)
        except RmfabError as error:
            self._warn(f"the board was not restarted: {error}")

    def _write_log(self, unit: Unit) -> str | None:
        """Keeps the console's text without the PoP, or what the loader said; returns where."""
        text = "".join(unit.transcript) + (unit.console.text if unit.console else "")
        text = text or "".join(f"{line}\n" for line in said())
        if not text.strip():
            return None
        name = unit.serial or (unit.mac or self._slot.name).replace(":", "")
        moment = timestamp(self._job.now()).replace(":", "").replace("-", "")
        safe = "".join(char if char.isalnum() or char in "._-" else "_" for char in name).lstrip(".")[:40]
        path = self._job.logs / f"{safe}-{moment}.log"
        try:
            write_file(path, (self._redacted(text) or "").encode(), secret=True, force=True, sync=False)
        except RmfabError as error:
            self._warn(f"the console log was not kept: {error}")
            return None
        return str(path)

    def _redacted(self, text: str | None) -> str | None:
        if text is None:
            return None
        unit = self._unit
        own = [unit.identity.pop] if unit and unit.identity else []
        return redact(text, *own, *(unit.secrets if unit else ()))

    def _end(self, worst: Ending, log: str | None) -> UnitEnded:
        error = worst.error if isinstance(worst.error, RmfabError) else None
        ended = UnitEnded(
            *self._where(),
            worst.outcome,
            worst.cause,
            self._redacted(worst.reason),
            time.monotonic() - self._started,
            log,
            error,
        )
        details = {"log": log} if log else {}
        event = Event(
            ended.ts,
            EventKind.UNIT,
            serial=ended.serial,
            mac=ended.mac,
            slot=self._slot.name,
            outcome=worst.outcome,
            cause=worst.cause,
            reason=ended.reason,
            seconds=ended.seconds,
            details=details,
        )
        try:
            self._job.ledger.record(self._job.station, [event])
        except RmfabError as refused:
            self._warn(f"the verdict is not in the ledger: {refused}")
        self._tell(ended)
        if worst.error is not None and not isinstance(worst.error, (RmfabError, Aborted)):
            raise worst.error
        return ended

    def _where(self) -> tuple[str, str, str, str | None, str | None]:
        unit = self._unit
        moment = timestamp(self._job.now())
        serial, mac = (unit.serial, unit.mac) if unit else (None, None)
        return moment, self._job.station, self._slot.name, serial, mac

    def _warn(self, text: str) -> None:
        self._tell(Message(*self._where(), "warning", text))


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
