"""The supervisor's view: the last units, the causes of failures by number, and the slots side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from rmfab.language.durations import clock
from rmfab.ledger.events import Outcome
from rmfab.report.first_passes import CauseShare
from rmfab.report.unit_tally import UnitTally, UnitVerdict, percent
from rmfab.report.yields import Tally
from rmfab.screen.block_letters import MARKS
from rmfab.screen.draw_wall import Frame
from rmfab.screen.ink import Row, cut, filled, padded
from rmfab.screen.tile import LOOK_WORDS, VERDICTS

_BAR = 16
_CHART = "="
"""A letter, and no block: blocks on rows below each other would be one."""


def draw_numbers(tally: UnitTally, names: Sequence[str], since: str, view: Frame) -> list[Row]:
    """Return the view as rows: beside each other on a wide screen, else one below the other.

    Causes and the slots *names* are those of verdicts at *since* or later.
    """
    passes = tally.first_passes(since)
    units, causes = _units(tally.recent[::-1], view), _causes(passes.pareto(), view)
    slots = _slots(names, passes.slots, tally.spoilt(since), view)
    if view.width < 120:
        return _indented([*causes, (), *slots, (), *units])
    half = view.width // 2
    right = [*causes, (), *slots]
    pairs = zip_longest(units, right, fillvalue=())
    return _indented([(*filled(one, half, "paper"), *two) for one, two in pairs])


def _indented(rows: Sequence[Row]) -> list[Row]:
    return [(("  ", "paper"), *row) for row in rows]


def _units(recent: Sequence[UnitVerdict], view: Frame) -> list[Row]:
    tr = view.speech.tr
    width = view.width if view.width < 120 else view.width // 2
    rows: list[Row] = [((tr("last units"), "strong"),)]
    for ended in recent:
        look = VERDICTS.get(ended.outcome)
        word = padded(tr(LOOK_WORDS[look]), 8) if look else padded(ended.outcome.value, 8)
        said = f"{view.time_of(ended.ts)}  {padded(ended.unit or '-', 17)} {padded(ended.slot, 6)} "
        why = f" {clock(ended.seconds):>5}  {view.speech.summary(ended.cause, ended.reason)}"
        rows.append(((said, "paper"), (word, f"{look}-text" if look else "dim"), (cut(why, width - 48), "dim")))
    return rows


def _causes(causes: Sequence[CauseShare], view: Frame) -> list[Row]:
    """Return the causes of first-pass failures, with bars and the share that each makes with those above it."""
    tr = view.speech.tr
    rows: list[Row] = [((tr("why units failed at the first pass"), "strong"),)]
    most = causes[0].units if causes else 1
    width = (view.width if view.width < 120 else view.width // 2) - _BAR - 16
    for one in causes[:8]:
        cells = max(1, round(_BAR * one.units / most))
        bar = ((_CHART * cells, "chart"), (" " * (_BAR - cells), "paper"))
        where = f"{tr(one.step)}, " if one.step else ""
        what = cut(f"{where}{one.cause}: {view.speech.summary(one.cause)}", width)
        rows.append((*bar, (f"{one.units:>4} {100 * one.cumulative:4.0f} %  {what}", "paper")))
    return rows if causes else [*rows, ((tr("none"), "dim"),)]


def _slots(
    names: Sequence[str], passes: Mapping[str, Tally], spoilt: Counter[tuple[str, Outcome]], view: Frame
) -> list[Row]:
    """Return the slots side by side: first passes by number, runs without a verdict, and the first-pass yield."""
    tr = view.speech.tr
    head = (
        f"{padded(tr('slot'), 12)}"
        + "".join(f"{MARKS[VERDICTS[one]]:>6}" for one in _COLUMNS)
        + f"  {tr('first pass')}"
    )
    rows: list[Row] = [((tr("slots side by side"), "strong"),), ((head, "dim"),)]
    for name in names:
        first = passes.get(name, _NONE)
        numbers = (first.passed, first.failed, spoilt[name, Outcome.ERROR], spoilt[name, Outcome.ABORTED])
        counts = "".join(f"{number or '-':>6}" for number in numbers)
        cells = round(_BAR * (first.ratio.value or 0.0))
        rows.append((
            (padded(name, 12), "paper"), (counts, "paper"), (f"  {percent(first.ratio):>8} ", "paper"),
            (_CHART * cells, "chart"), ("-" * (_BAR - cells if first.ratio.whole else 0), "dim"),
        ))  # fmt: skip
    return rows


_NONE = Tally()
_COLUMNS = (Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.ABORTED)
