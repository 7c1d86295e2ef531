"""The end of a run, for people: units that did not pass and why, totals, first-pass yield, what to do next."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import click

from rmfab.commands import terminal
from rmfab.commands.folding import width_of
from rmfab.commands.live_table import COLOURS, verdict_word
from rmfab.errors import one_line
from rmfab.language.durations import clock
from rmfab.language.speech import Speech, marked
from rmfab.language.widths import cells, padded, start_of
from rmfab.ledger.events import Outcome
from rmfab.line.events import LineEvent, UnitEnded
from rmfab.report.unit_tally import UnitTally, percent
from rmfab.report.yields import Ratio

_TOLD = (Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.ABORTED, Outcome.SEEN)
_GOOD = (Outcome.PASS, Outcome.MARGINAL, Outcome.SEEN)
_MOST_ROWS, _MOST_REMEDIES = 50, 5
_WIDTH = 80
_FEW = 4
"""The lines of so few units are still in sight, with their reasons: no table repeats them."""


@dataclass(frozen=True)
class _Ended:
    """The last state of a unit."""

    name: str
    event: UnitEnded


class ShiftEnd:
    """What is told at the end of a run; it sees every event. *now* is a monotonic clock."""

    def __init__(self, speech: Speech, now: Callable[[], float] = time.monotonic) -> None:
        self._speech = speech
        self._now = now
        self._began = now()
        self._last: dict[str, _Ended] = {}
        self._tally = UnitTally()

    def note(self, event: LineEvent) -> None:
        """Take in one event."""
        self._tally.note(event)
        if isinstance(event, UnitEnded):
            name = event.serial or event.mac or event.slot
            self._last.pop(event.slot, None)  # a board that was not recognized there: its slot works again
            self._last[name] = _Ended(name, event)

    @property
    def first_pass(self) -> Ratio:
        """The first-pass yield so far."""
        return self._tally.first_pass()

    @property
    def seconds(self) -> float:
        """How long the run has taken so far."""
        return self._now() - self._began

    def show(self) -> None:
        """Print it on stderr, unless -q was given."""
        if not self._last or terminal.quiet():
            return
        bad = [one for one in self._last.values() if one.event.outcome not in _GOOD]
        width = width_of(sys.stderr) or _WIDTH
        for text, colour in self._rows(bad, width) if len(self._last) > _FEW else ():
            click.echo(click.style(text, fg=colour), err=True)
        terminal.say(self.totals())
        for text in self._next(bad):
            terminal.say(text)

    def totals(self) -> str:
        """Return the totals in one line."""
        tr, first = self._speech.tr, self.first_pass
        verdicts = self._tally.verdicts()
        verdicts[Outcome.PASS] += verdicts.pop(Outcome.MARGINAL, 0)
        told = tr(", ").join(f"{verdicts[one]} {verdict_word(one, self._speech)}" for one in _TOLD if verdicts[one])
        text = tr("units: {count} in {time}: {told}", count=self._tally.units, time=clock(self.seconds), told=told)
        if not first.whole:
            return text
        share = tr(
            "first-pass yield {percent} ({passed} of {of})", percent=percent(first), passed=first.passed, of=first.whole
        )
        return f"{text}; {share}"

    def _rows(self, bad: list[_Ended], width: int) -> list[tuple[str, str | None]]:
        """Return the table of units that did not pass, each row with its colour."""
        if not bad:
            return []
        tr = self._speech.tr
        names = [max(12, *(cells(one_line(one.name, 40)) for one in bad)), 8, 6]
        head = (tr("unit"), tr("verdict"), tr("slot"), tr("reason"))
        rows: list[tuple[str, str | None]] = [("", None), (_row(head, names, width), "bright_black")]
        for one in bad[-_MOST_ROWS:]:
            event = one.event
            reason = self._speech.meaning(event.cause, event.reason)
            texts = (one.name, verdict_word(event.outcome, self._speech), event.slot, reason)
            rows.append((_row(texts, names, width), COLOURS[event.outcome]))
        return [*rows, ("", None)]

    def _next(self, bad: list[_Ended]) -> list[str]:
        """Return what to do about each cause, the most frequent first."""
        causes: dict[str, list[str]] = {}
        for one in bad:
            if one.event.cause and one.event.outcome is not Outcome.ABORTED:
                causes.setdefault(one.event.cause, []).append(one.name)
        ranked = sorted(causes.items(), key=lambda item: -len(item[1]))[:_MOST_REMEDIES]
        text = marked("next, {cause} ({count}): {remedy}")
        return [
            self._speech.tr(text, cause=cause, count=len(names), remedy=self._speech.remedy(cause))
            for cause, names in ranked
            if self._speech.remedy(cause)
        ]


def _row(texts: tuple[str, ...], widths: list[int], width: int) -> str:
    """Return one row of the table on at most *width* columns."""
    named = "  ".join(padded(one_line(text, 200), size) for text, size in zip(texts[:-1], widths, strict=True))
    return start_of(f"{named}  {one_line(texts[-1], 400)}", width - 1).rstrip()
