"""The detail view of a slot: what happens or happened there, step by step, with measurements, console and attempts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from rmfab.errors import one_line
from rmfab.language.durations import clock
from rmfab.language.speech import Speech, marked
from rmfab.ledger.events import Outcome
from rmfab.line.events import StepEnded
from rmfab.screen.draw_wall import Frame
from rmfab.screen.ink import Row, cut, filled, padded, wrapped
from rmfab.screen.tile import LOOK_WORDS, VERDICTS, Tile, Visited

Limits = Mapping[str, str]
"""The limit of a measurement, in words, such as `>= -75`."""
_LONGEST = 200
_STEP_WORDS = {
    **{outcome: LOOK_WORDS[look] for outcome, look in VERDICTS.items()},
    Outcome.MARGINAL: marked("MARGINAL"),
    Outcome.SKIP: marked("SKIP"),
}


def draw_detail(tile: Tile, visits: Sequence[Visited], log: Sequence[str], limits: Limits, view: Frame) -> list[Row]:
    """Return the view as rows. *visits*: the runs on this slot, the newest first; *log*: the end of the console."""
    steps = tile.done if tile.step is not None or not visits else visits[0].steps
    left = [
        *_title(tile, view),
        *_verdict(tile, view),
        *_steps(steps, limits, view.speech, _half(view)),
        *_attempts(visits, view),
    ]
    if view.width < 120:
        return [*left, *_console(log, view, view.width, max(4, view.height - len(left)))]
    right = _console(log, view, view.width - _half(view) - 2, view.height)
    pairs = zip_longest(left, right, fillvalue=())
    return [(*filled(one, _half(view), "paper"), ("  ", "paper"), *two) for one, two in pairs]


def _half(view: Frame) -> int:
    return view.width if view.width < 120 else view.width // 2


def _title(tile: Tile, view: Frame) -> list[Row]:
    word = view.speech.tr(LOOK_WORDS[tile.look])
    names = "  ".join(name for name in (tile.serial, tile.mac) if name and tile.unit)
    return [
        (
            ("  ", "paper"),
            (cut(tile.slot, 30), "strong"),
            (f"  {cut(names, 50)}  ", "paper"),
            (f" {word} ", tile.look.value),
        )
    ]


def _verdict(tile: Tile, view: Frame) -> list[Row]:
    """Return why the last unit did not pass: meaning, what was found, and the remedy."""
    last, speech = tile.last, view.speech
    if last is None or tile.step is not None:
        return []
    ended = last.ended if last.marginal is None else last.marginal
    told = [(speech.summary(ended.cause), "strong"), (ended.reason or "", "paper")]
    told.append((f"> {remedy}" if (remedy := speech.remedy(ended.cause)) else "", "warning"))
    width = _half(view) - 4
    return [(("  ", "paper"), (text, style)) for said, style in told if said for text in wrapped(said, width, 2)]


def _steps(steps: Sequence[StepEnded], limits: Limits, speech: Speech, width: int) -> list[Row]:
    rows: list[Row] = []
    for step in steps:
        style = f"{VERDICTS[step.outcome]}-text" if step.outcome in VERDICTS else "dim"
        name = padded(speech.tr(step.step.value), 10)
        said = measured(step.measurements, limits, width - 32)
        word = padded(speech.tr(_STEP_WORDS[step.outcome]), 9)
        row = (("  " + name, "paper"), (word, style), (f"{step.seconds:6.1f} s  ", "paper"))
        rows.append((*row, (said, "dim")))
    return rows


def measured(measurements: Mapping[str, Any], limits: Limits, width: int) -> str:
    """Return measurements with their limits on one line: `rssi -61 [>= -75]`; of what is or is not, only what is."""
    said = [
        f"{name}{_value(value)}{f' [{limits[name]}]' if name in limits else ''}"
        for name, value in measurements.items()
        if value is not None and value is not False and not isinstance(value, (dict, list, tuple))
    ]
    said.sort(key=lambda text: "[" not in text)
    return cut(", ".join(said), width)


def _value(value: object) -> str:
    return "" if value is True else f" {one_line(str(value), _LONGEST)}"


def _attempts(visits: Sequence[Visited], view: Frame) -> list[Row]:
    """Return the runs on this slot, the newest first: at most five."""
    speech = view.speech
    rows: list[Row] = [(("  ", "paper"), (speech.tr("attempts"), "strong"))] if visits else []
    for visited in visits[:5]:
        ended = visited.ended
        said = f"  {view.time_of(ended.ts)}  {padded(visited.unit, 14)}  "
        why = f"  {clock(ended.seconds)}  {speech.summary(ended.cause, ended.reason)}"
        rows.append(
            (
                (said, "paper"),
                (speech.tr(LOOK_WORDS[visited.look]), f"{visited.look}-text"),
                (cut(why, _half(view) - 36), "dim"),
            )
        )
    return rows


def _console(log: Sequence[str], view: Frame, width: int, room: int) -> list[Row]:
    """Return the end of the console, which is free of secrets, on *room* rows."""
    head = view.speech.tr("console") if log else view.speech.tr("no console output yet")
    tail = log[-(room - 1) :]
    return [
        filled(((head, "strong"),), width, "paper"),
        *[filled(((cut(text, width), "dim"),), width, "paper") for text in tail],
    ]
