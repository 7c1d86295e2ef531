"""Judges of what a product's own step answered: a program by its exit code and its last line, or the operator. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from rmfab.errors import StationError, UnitFault, one_line
from rmfab.json_text import parse_json
from rmfab.line.step_program import ProgramEnd
from rmfab.product.own_step import MEASUREMENT, OwnStep

_PASSED, _FAILED = 0, 1
_LONGEST_LINE = 16 * 1024
_LONGEST_TEXT = 200
_MOST_VALUES = 64
_LARGEST = 1e15
_REASON = "reason"
_OURS = ("attempt", "retry")
"""Names of measurements that the line gives to every step."""


@dataclass(frozen=True)
class StepAnswer:
    """The measurements that a program printed, and the *reason* that it gave for its verdict."""

    values: Mapping[str, float | bool | str]
    reason: str = ""


def read_answer(step: OwnStep, end: ProgramEnd) -> StepAnswer:
    """Return the answer in the last line of a program's output. A line that is not a JSON object is the reason.

    Raise StationError if the object is not one of measurements.
    """
    lines = end.output.strip().splitlines() or end.errors.strip().splitlines() or [""]
    last = lines[-1].strip()
    if not last.startswith("{"):
        return StepAnswer({}, one_line(last, _LONGEST_TEXT))
    if len(last) > _LONGEST_LINE:
        raise _bad(step, f"the last line is longer than {_LONGEST_LINE} characters")
    try:
        found = parse_json(last)
    except (ValueError, RecursionError) as error:
        raise _bad(step, f"the last line is not JSON: {one_line(str(error), _LONGEST_TEXT)}") from None
    if not isinstance(found, dict) or len(found) > _MOST_VALUES:
        raise _bad(step, f"the last line has more than {_MOST_VALUES} values")
    reason = found.pop(_REASON, "")
    return StepAnswer({name: _value(step, name, value) for name, value in found.items()}, one_line(str(reason)))


def _value(step: OwnStep, name: str, value: object) -> float | bool | str:
    if not MEASUREMENT.fullmatch(name) or name in _OURS:
        raise _bad(step, f'"{one_line(name, 40)}" is not the name of a measurement')
    if isinstance(value, str):
        return one_line(value, _LONGEST_TEXT)
    if isinstance(value, bool):
        return value
    if not isinstance(value, (int, float)) or not isfinite(value) or abs(value) > _LARGEST:
        raise _bad(step, f"{name} is not a number, a text, true or false")
    return float(value)


def measurements_of(step: OwnStep, answer: StepAnswer) -> dict[str, Any]:
    """Return the measurements of *answer* for the ledger: a number with its limits."""
    return {name: _measured(step, name, value) for name, value in answer.values.items()}


def _measured(step: OwnStep, name: str, value: float | bool | str) -> object:
    if isinstance(value, (bool, str)):
        return value
    limits = step.limits.get(name)
    ends = {} if limits is None else {"low": limits.low, "high": limits.high, "unit": limits.unit or None}
    return {"value": value} | {key: end for key, end in ends.items() if end is not None}


def judge_answer(step: OwnStep, end: ProgramEnd, answer: StepAnswer) -> None:
    """Raise UnitFault if the program failed the unit or a value is outside its limits, StationError if it did not do
    its work: a different exit code, or no value for a limit."""
    if end.code not in (_PASSED, _FAILED):
        how = f"was killed by signal {-end.code}" if end.code < 0 else f"exited with {end.code}"
        said = answer.reason or _last(end.errors)
        raise StationError(
            f"the program {how}{f': {said}' if said else ''}",
            where=step.name,
            hint="it must exit with 0 if the unit passes, with 1 if it fails; anything else is the station's fault",
            cause="step-command",
        )
    for name, limits in step.limits.items():
        value = answer.values.get(name)
        if isinstance(value, float) and not limits.fits(value):
            raise UnitFault(f"{name} is {value:g}, outside {limits}", cause="out-of-limits")
    if end.code == _FAILED:
        raise UnitFault(answer.reason or "its program failed the unit", cause="step-failed")
    missing = [name for name in step.limits if not isinstance(answer.values.get(name), float)]
    if missing:
        raise _bad(step, f"the last line has no number for {', '.join(missing)}")


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return one_line(lines[-1], _LONGEST_TEXT) if lines else ""


def _bad(step: OwnStep, what: str) -> StationError:
    return StationError(
        what,
        where=step.name,
        hint='print one line last, such as {"current": 41.5}',
        cause="step-answer",
    )


def read_word(text: str) -> tuple[bool, str] | None:
    """Return what the operator answered: whether the unit passes, and the words after it; None if it is no answer."""
    word, _, rest = text.strip().partition(" ")
    match word.lower():
        case "p" | "pass":
            return True, ""
        case "f" | "fail":
            return False, one_line(rest.strip(), _LONGEST_TEXT)
    return None
