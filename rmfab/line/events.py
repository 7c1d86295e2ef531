"""The events of the line, as a stream of values: steps, verdicts, messages to the operator, progress.

Commands render them; `to_json` is their form for `--json`. They contain no secrets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Any, NamedTuple, Self, cast

from rmfab.errors import RmfabError
from rmfab.ledger.events import Outcome
from rmfab.ledger.label_words import LabelWord
from rmfab.ledger.standing import Standing
from rmfab.ledger.states import State


@unique
class Step(StrEnum):
    """The steps of the line, in order. `Step.named` also returns those that product.toml names, after one of these."""

    DETECT = "detect"
    CLAIM = "claim"
    FLASH = "flash"
    READBACK = "readback"
    BOOT = "boot"
    IDENTIFY = "identify"
    PROVISION = "provision"
    CLOUD = "cloud"
    UPDATE = "update"
    BACK = "back"
    RESET = "reset"
    RECHECK = "recheck"
    LABEL = "label"

    @classmethod
    def named(cls, name: str) -> Self:
        """Return the step *name*: one of rmfab's, or a product's own, of which there is one object per name."""
        known: Any = cls._value2member_map_.get(name) or _OWN.get(name)
        if known is None:
            known = str.__new__(cls, name)
            known._name_, known._value_ = name, name
            known = _OWN.setdefault(name, known)
        return cast("Self", known)

    @property
    def own(self) -> bool:
        """Whether it is a product's own step."""
        return self._value_ in _OWN


_OWN: dict[str, Step] = {}


@unique
class LabelState(StrEnum):
    """What is known of a unit's label at the end of its visit."""

    MISSING = "missing"
    IN_DOUBT = "in doubt"
    SENT = "sent"
    PRINTED = "printed"
    SCANNED = "scanned"
    MADE = "made"

    @property
    def there(self) -> bool:
        """Whether the unit has a label, as far as anyone can tell."""
        return self not in (LabelState.MISSING, LabelState.IN_DOUBT)

    @classmethod
    def of(cls, standing: Standing) -> Self:
        """Return what *standing* says; MADE is a label of a sheet or picture."""
        if standing.doubt_ts is not None:
            return cls("in doubt")
        if not standing.labelled_count:
            return cls("missing")
        if standing.scanned:
            return cls("scanned")
        last = standing.labelled_ts
        return cls("printed" if last == standing.printed_ts else "sent" if last == standing.sent_ts else "made")

    @classmethod
    def after(cls, word: LabelWord) -> Self:
        """Return what is known after *word*."""
        return cls({"sending": "in doubt", "not-printed": "missing"}.get(word.value, word.value))


class Origin(NamedTuple):
    """When and on which slot an event happens, and to which unit: the fields of `LineEvent`, in the same order."""

    ts: str
    station: str
    slot: str
    serial: str | None
    mac: str | None


@dataclass(frozen=True)
class LineEvent:
    """An event on *slot* at *ts*; the subclasses say which."""

    ts: str
    station: str
    slot: str
    serial: str | None
    mac: str | None


@dataclass(frozen=True)
class StepStarted(LineEvent):
    """A step starts."""

    step: Step


@dataclass(frozen=True)
class StepProgress(LineEvent):
    """A step has sent *done* of *total* bytes. For people only; not part of `--json`."""

    step: Step
    done: int
    total: int


@dataclass(frozen=True)
class StepEnded(LineEvent):
    """A step has ended. *cause* and *reason* say why it did not pass; *state* is that of the unit now, None if the step
    has not changed it."""

    step: Step
    outcome: Outcome
    cause: str | None
    reason: str | None
    seconds: float
    measurements: Mapping[str, Any] = field(default_factory=dict)
    state: State | None = None


@dataclass(frozen=True)
class UnitEnded(LineEvent):
    """The verdict of a unit, with the first cause that was not good. Commands derive exit codes from *error*.

    *label*: what is known of its label, None if the run did not come to it.
    """

    outcome: Outcome
    cause: str | None
    reason: str | None
    seconds: float
    log: str | None
    error: RmfabError | None = field(default=None, compare=False)
    label: LabelState | None = None

    @property
    def lacks_label(self) -> bool:
        """Whether the unit passed, and nobody knows of a label for it."""
        return self.outcome is Outcome.PASS and self.label is not None and not self.label.there


@dataclass(frozen=True)
class Message(LineEvent):
    """A message to the operator: *level* is `info` or `warning`. *about*: the cause that it is about, if it is one."""

    level: str
    text: str
    about: str | None = None


@dataclass(frozen=True)
class SlotWaiting(LineEvent):
    """The slot has no board that answers; *text* says so. For people only; not part of `--json`."""

    text: str

    @property
    def found(self) -> str:
        """What the slot has instead of a board that answers, empty for nothing."""
        return self.text.removeprefix("waiting").removeprefix(": ")


@dataclass(frozen=True)
class SlotService(LineEvent):
    """The slot went out of service because of *reason*, and starts no board; None: it is in service again.

    *locked*: a supervisor has to unlock it.
    """

    reason: str | None
    locked: bool = False

    @property
    def state(self) -> str:
        """`in service`, `locked` or `disabled`."""
        return "in service" if self.reason is None else "locked" if self.locked else "disabled"


@dataclass(frozen=True)
class SlotHeld(LineEvent):
    """The slot has its next board, which waits for the operator. For people only; not part of `--json`."""


@dataclass(frozen=True)
class Stopped(LineEvent):
    """The line starts no more boards because of *error*."""

    error: RmfabError


def to_json(event: LineEvent) -> dict[str, Any] | None:
    """Return the JSON object of an event (`event`, `ts`, `station`, `slot`, `serial` …), or None for progress."""
    base: dict[str, Any] = {
        "ts": event.ts,
        "station": event.station,
        "slot": event.slot or None,  # a message may be about the whole line
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
                "label": None if event.label is None else event.label.value,
            }
        case Message():
            return {"event": "log", **base, "level": event.level, "text": event.text}
        case SlotService():
            return {"event": "slot", **base, "state": event.state, "reason": event.reason}
        case Stopped():
            return {**event.error.event(), **base}
    return None


class Summary:
    """Counts of units by their last verdicts; a unit that came again counts once.

    A board that was not recognized counts as long as its slot had no other. *seen*: finished units that came back, and
    were left as they are. *labels* counts what is known of the labels of all units that came to it.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], UnitEnded] = {}

    def count(self, ended: UnitEnded) -> None:
        """Add one verdict."""
        self._last.pop(("slot", ended.slot), None)
        name = ended.mac or ended.serial
        unit = ("slot", ended.slot) if name is None else ("unit", name)
        if unit not in self._last or ended.outcome is not Outcome.SEEN:
            self._last[unit] = ended

    @property
    def units(self) -> int:
        """How many units there were."""
        return len(self._last)

    @property
    def failures(self) -> tuple[UnitEnded, ...]:
        """The last verdicts of the units that failed."""
        return tuple(one for one in self._last.values() if one.outcome is Outcome.FAIL)

    @property
    def unlabelled(self) -> tuple[UnitEnded, ...]:
        """The last verdicts of the units that passed and lack their labels."""
        return tuple(one for one in self._last.values() if one.lacks_label)

    @property
    def passed(self) -> int:
        """How many units passed."""
        return self._number(Outcome.PASS, Outcome.MARGINAL)

    @property
    def failed(self) -> int:
        """How many units failed."""
        return self._number(Outcome.FAIL)

    @property
    def errors(self) -> int:
        """How many units have no verdict because of the station."""
        return self._number(Outcome.ERROR)

    @property
    def aborted(self) -> int:
        """How many units the operator stopped."""
        return self._number(Outcome.ABORTED)

    @property
    def seen(self) -> int:
        """How many finished units came back."""
        return self._number(Outcome.SEEN)

    @property
    def labels(self) -> Counter[LabelState]:
        """What is known of the labels."""
        return Counter(one.label for one in self._last.values() if one.label is not None)

    def __str__(self) -> str:
        counts = (("passed", self.passed), ("failed", self.failed), ("without a verdict", self.errors + self.aborted))
        said = ", ".join(f"{count} {word}" for word, count in counts if count) or "none finished"
        return f"{self.units} {'unit' if self.units == 1 else 'units'}: {said}"

    def _number(self, *outcomes: Outcome) -> int:
        return sum(one.outcome in outcomes for one in self._last.values())

    def to_json(self) -> dict[str, Any]:
        """Return the last line of `--json`."""
        return {
            "event": "summary",
            "passed": self.passed,
            "failed": self.failed,
            "errors": self.errors,
            "aborted": self.aborted,
            "seen": self.seen,
            "labels": {state.value: count for state, count in sorted(self.labels.items())},
        }


def identities_text(number: int) -> str:
    """Return *number* of identities in words, for a message."""
    return "no identities" if number == 0 else "one identity" if number == 1 else f"{number} identities"
