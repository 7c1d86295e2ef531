"""The live table of the line: one row per slot, as many as the terminal has lines, and a line of totals.

If all slots fit, they stand in the station's order. If not, those that failed and those at work come first, and the
others take turns on the lines that are left, so that no failure is out of sight.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmfab.errors import one_line
from rmfab.language.durations import clock
from rmfab.language.speech import Language, Speech, speech_in
from rmfab.language.widths import cells, end_of
from rmfab.ledger.events import Outcome
from rmfab.line.events import LineEvent, SlotService, SlotWaiting, StepProgress, StepStarted, UnitEnded
from rmfab.report.unit_tally import percent
from rmfab.report.yields import Ratio
from rmfab.screen.tile import LOOK_WORDS, VERDICTS

if TYPE_CHECKING:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

COLOURS = {
    Outcome.PASS: "green",
    Outcome.MARGINAL: "yellow",
    Outcome.FAIL: "red",
    Outcome.ERROR: "magenta",
    Outcome.ABORTED: "yellow",
    Outcome.SKIP: "bright_black",
    Outcome.SEEN: "cyan",
}
_TURN_SECONDS = 3.0
_SLOT_CELLS = 28
_DOING_CELLS = 10
_GAP = 2
_LONG_BAR, _SHORT_BAR = 26, 14
_WIDE = 96  # columns from which the long bar leaves room for a slot's and a unit's name


@dataclass(frozen=True)
class SlotRow:
    """What a slot does: the unit's *name*, the *step* at work with the *part* that is done, or the last *outcome*.

    If the slot waits for a board, *name* is what it has found instead, if anything.
    """

    slot: str
    name: str = ""
    step: str | None = None
    part: float | None = None
    outcome: Outcome | None = None

    @property
    def rank(self) -> int:
        """0 after a failure, 1 at work, 2 otherwise: those with less to see come last."""
        if self.step is not None:
            return 1
        return 2 if self.outcome in (None, Outcome.PASS, Outcome.SEEN) else 0


_ECHO = "^C^C"
"""What a terminal may echo at the end of the table's last line: if it does not fit, the table is one line higher."""


class LiveTable:
    """The rows of *slots* and the verdicts so far."""

    def __init__(
        self,
        slots: Sequence[str],
        now: Callable[[], float] = time.monotonic,
        speech: Speech = speech_in(Language.ENGLISH),  # noqa: B008 - a value
    ) -> None:
        self._speech = speech
        self._rows = {slot: SlotRow(slot) for slot in slots}
        self._verdicts: Counter[Outcome] = Counter()
        self._clock = now

    def note(self, event: LineEvent) -> None:
        """Update the row of the event's slot."""
        name = event.serial or event.mac or ""
        match event:
            case StepStarted():
                self._rows[event.slot] = SlotRow(event.slot, name, event.step.value)
            case StepProgress():
                self._rows[event.slot] = SlotRow(event.slot, name, event.step.value, event.done / max(1, event.total))
            case UnitEnded():
                self._rows[event.slot] = SlotRow(event.slot, name, outcome=event.outcome)
                self._verdicts[event.outcome] += 1
            case SlotService():
                found = "" if event.reason is None else f"{self._speech.tr(event.state)}: {event.reason}"
                self._rows[event.slot] = SlotRow(event.slot, found)
            case SlotWaiting():
                self._rows[event.slot] = SlotRow(event.slot, event.found)  # the row says by itself that it waits

    def render(self, width: int, height: int, first_pass: Ratio | None = None, seconds: float | None = None) -> Table:
        """Return the table for a terminal of this size; it is at most *height* - 1 lines high.

        Its last line also has the yield *first_pass*, and the *seconds* that the run has taken, if they are given.
        """
        from rich.table import Table

        room = max(1, height - 2)  # one line for the totals, and one for the cursor
        rows = tuple(self._rows.values())
        shown = choose(rows, room, int(self._clock() / _TURN_SECONDS))
        slots = [end_of(one_line(row.slot), _SLOT_CELLS) for row in shown]
        bar = 0 if all(row.part is None for row in shown) else _LONG_BAR if width >= _WIDE else _SHORT_BAR
        # The names share what the others leave: a long one must not take the slot's place.
        names = max(1, width - max(map(cells, slots)) - _DOING_CELLS - bar - 3 * _GAP)
        table = Table.grid(padding=(0, _GAP))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(width=_DOING_CELLS)
        table.add_column()
        for slot, row in zip(slots, shown, strict=True):
            table.add_row(slot, _head(one_line(row.name), names), _doing(row, self._speech), _bar(row, bar))
        whole = Table.grid()
        whole.add_row(table)
        totals = self._totals(rows, len(shown))
        if first_pass is not None and first_pass.whole:
            totals.append(f"  {self._speech.tr('first pass')} {percent(first_pass)}")
        if seconds is not None:
            totals.append(f"  {clock(seconds)}", style="bright_black")
        totals.truncate(max(1, width - len(_ECHO)), overflow="ellipsis")
        whole.add_row(totals)
        return whole

    def _totals(self, rows: Sequence[SlotRow], shown: int) -> Text:
        from rich.text import Text

        working = sum(row.step is not None for row in rows)
        idle = sum(row.step is None and row.outcome is None for row in rows)
        counted = self._speech.tr(
            "{slots} slots: {working} at work, {idle} waiting", slots=len(rows), working=working, idle=idle
        )
        line = Text(counted, no_wrap=True, overflow="ellipsis")
        for outcome in (Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.ABORTED, Outcome.SEEN):
            if count := self._verdicts[outcome]:
                line.append("  ").append(f"{count} {verdict_word(outcome, self._speech)}", style=COLOURS[outcome])
        if shown < len(rows):
            turns = self._speech.tr("({shown} of {slots} shown, in turns)", shown=shown, slots=len(rows))
            line.append(f"  {turns}", style="bright_black")
        return line


def choose(rows: Sequence[SlotRow], room: int, turn: int) -> tuple[SlotRow, ...]:
    """Return the rows for *room* lines. Rows that do not always fit take turns, a page each; *turn* counts up."""
    if len(rows) <= room:
        return tuple(rows)
    ranked = sorted(rows, key=lambda row: row.rank)
    kept = next(count for count in _kept(ranked) if count < room)
    rest, lines = ranked[kept:], room - kept
    pages = -(-len(rest) // lines)
    start = turn % pages * lines
    return (*ranked[:kept], *rest[start : start + lines])


def _kept(ranked: Sequence[SlotRow]) -> Iterable[int]:
    """Yield how many rows may keep their place: the failed and those at work, the failed alone, or none."""
    for rank in (1, 0):
        yield sum(row.rank <= rank for row in ranked)
    yield 0


def _doing(row: SlotRow, speech: Speech) -> Text:
    from rich.text import Text

    if row.step is not None:
        return Text(speech.tr(row.step))
    if row.outcome is None:
        return Text(speech.tr("waiting"), style="bright_black")
    return Text(verdict_word(row.outcome, speech), style=f"bold {COLOURS[row.outcome]}")


def verdict_word(outcome: Outcome, speech: Speech) -> str:
    """Return the word for *outcome* in the operator's language."""
    return speech.tr(LOOK_WORDS[VERDICTS[outcome]]) if outcome in VERDICTS else outcome.value


def _bar(row: SlotRow, width: int) -> ProgressBar | str:
    from rich.progress_bar import ProgressBar

    if row.part is None:
        return ""
    return ProgressBar(total=1.0, completed=row.part, width=width)


def _head(text: str, cells: int) -> Text:
    """Return the start of *text* in at most *cells* columns."""
    from rich.text import Text

    shown = Text(text)
    shown.truncate(cells, overflow="ellipsis")
    return shown
