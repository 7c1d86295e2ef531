"""What happens on the line, as a stream of values: steps, verdicts, words to the operator, progress.

Commands render them; `to_json` is their form for `--json`. None carries a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Any, NamedTuple

from rmfab.errors import RmfabError
from rmfab.ledger.events import Outcome


@unique
class Step(StrEnum):
    """What the line does to a unit, in its order."""

    DETECT = "detect"
    CLAIM = "claim"
    FLASH = "flash"
    READBACK = "readback"
    BOOT = "boot"
    IDENTIFY = "identify"
    PROVISION = "provision"
    RESET = "reset"
    LABEL = "label"


class Origin(NamedTuple):
    """When and where something happens, and to which unit: the fields of `LineEvent`, in its order."""

    ts: str
    station: str
    slot: str
    serial: str | None
    mac: str | None


@dataclass(frozen=True)
class LineEvent:
    """Something on *slot* at *ts*; the classes below say what."""

    ts: str
    station: str
    slot: str
    serial: str | None
    mac: str | None


@dataclass(frozen=True)
class StepStarted(LineEvent):
    """A step begins."""

    step: Step


@dataclass(frozen=True)
class StepProgress(LineEvent):
    """A step has done *done* of *total* bytes. Only for people; not part of `--json`."""

    step: Step
    done: int
    total: int


@dataclass(frozen=True)
class StepEnded(LineEvent):
    """A step is over. *cause* and *reason* say why it did not pass."""

    step: Step
    outcome: Outcome
    cause: str | None
    reason: str | None
    seconds: float
    measurements: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class UnitEnded(LineEvent):
    """The verdict of a unit, with the first cause that was not good. *error* is what commands make exit codes of."""

    outcome: Outcome
    cause: str | None
    reason: str | None
    seconds: float
    log: str | None
    error: RmfabError | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Message(LineEvent):
    """A word to the operator: *level* is `info` or `warning`."""

    level: str
    text: str


@dataclass(frozen=True)
class Stopped(LineEvent):
    """No further board is begun, because of *error*."""

    error: RmfabError


def to_json(event: LineEvent) -> dict[str, Any] | None:
    """The JSON object of an event (`event`, `ts`, `station`, `slot`, `serial` …), None for progress."""
    base: dict[str, Any] = {
        "ts": event.ts,
        "station": event.station,
        "slot": event.slot,
        "serial": event.serial,
        "mac": event.mac,
    }
    match event:
        case StepEnded():
            return {
                "event": "step",
                **base,
                "step": event.step.value,
                "outcome": event.outcome.value,
                "class": event.cause,
                "reason": event.reason,
                "seconds": round(event.seconds, 3),
                "measurements": dict(event.measurements),
            }
        case UnitEnded():
            return {
                "event": "unit",
                **base,
                "outcome": event.outcome.value,
                "class": event.cause,
                "reason": event.reason,
                "seconds": round(event.seconds, 3),
                "log": event.log,
            }
        case Message():
            return {"event": "log", **base, "level": event.level, "text": event.text}
        case Stopped():
            return {**event.error.event(), **base}
    return None


@dataclass
class Summary:
    """How many units ended how. `end` of every unit is counted, also of those that were aborted."""

    passed: int = 0
    failed: int = 0
    errors: int = 0
    aborted: int = 0

    def count(self, ended: UnitEnded) -> None:
        """Adds one verdict."""
        match ended.outcome:
            case Outcome.PASS | Outcome.MARGINAL:
                self.passed += 1
            case Outcome.FAIL:
                self.failed += 1
            case Outcome.ABORTED:
                self.aborted += 1
            case _:
                self.errors += 1

    def to_json(self) -> dict[str, Any]:
        """The last line of `--json`."""
        return {
            "event": "summary",
            "passed": self.passed,
            "failed": self.failed,
            "errors": self.errors,
            "aborted": self.aborted,
        }
