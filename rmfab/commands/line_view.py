"""Views of the line: one line per unit, a live table on a terminal, or JSON events for programs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

import click

from rmfab.commands import terminal
from rmfab.commands.folding import fold, fold_pieces, width_of
from rmfab.commands.live_table import COLOURS, LiveTable, verdict_word
from rmfab.commands.shift_end import ShiftEnd
from rmfab.errors import BatchUsedUp, IntegrityError, one_line
from rmfab.language.speech import Language, Speech, speech_in
from rmfab.language.widths import cells, end_of, padded
from rmfab.ledger.events import Outcome
from rmfab.line.events import (
    LineEvent,
    Message,
    Step,
    StepEnded,
    Summary,
    UnitEnded,
    to_json,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from rmfab.report.yields import Ratio

_LONGEST_QUOTE = 2000
_WIDTH = 80
_NAME_CELLS, _VERDICT_CELLS, _SLOT_CELLS = 10, 7, 28
_ENGLISH = speech_in(Language.ENGLISH)
_SHOWN = (
    Step.FLASH,
    Step.LABEL,
    Step.BOOT,
    Step.UPDATE,
    Step.BACK,
    Step.PROVISION,
    Step.CLOUD,
    Step.RESET,
    Step.IDENTIFY,
)
"""The steps whose seconds a unit's line has, as far as there is room for them: those that come first here."""


class View(Protocol):
    """A view that shows events as they come."""

    def show(self, event: LineEvent) -> None:
        """Show one event."""

    def close(self, summary: Summary, /) -> None:
        """Close the view after the last event."""


def make_view(
    json_wanted: bool, slots: tuple[str, ...], speech: Speech, *, single: bool = False, asks: bool = False
) -> View:
    """Return the view for this command: JSON, live if stderr is a terminal, else plain.

    *single*: only one unit is run, so that the error which ends the command is its reason. *asks*: the operator types
    meanwhile, and a live table would draw over it.
    """
    if json_wanted:
        return JsonView()
    if sys.stderr.isatty() and not terminal.quiet() and not asks:
        return LiveView(slots, speech=speech, single=single)
    return PlainView(speech=speech, single=single)


class JsonView:
    """One JSON object per line on stdout; the last is the summary."""

    def show(self, event: LineEvent) -> None:
        """Print the event, if it has a JSON form."""
        if (value := to_json(event)) is not None:
            terminal.json_line(value)

    def close(self, summary: Summary, /) -> None:
        """Print the summary."""
        terminal.json_line(summary.to_json())


Pieces = list[tuple[str, str | None]]


class UnitLines:
    """Collector of the steps of each unit, for the line that is printed when the unit ends.

    *single*: leave out a reason that is also the error which ends the command.
    """

    def __init__(self, speech: Speech, *, single: bool) -> None:
        self._speech = speech
        self._single = single
        self._steps: dict[str, list[StepEnded]] = {}

    def note(self, event: LineEvent) -> None:
        """Record a step that has ended."""
        if isinstance(event, StepEnded):
            self._steps.setdefault(event.slot, []).append(event)

    def line(self, ended: UnitEnded, width: int | None) -> Pieces:
        """Return the line of the unit, and below it the reason of each step that did not pass, as coloured pieces.

        On *width* columns, 80 if it is None, it has each step that did not pass, and the others as there is room.
        """
        steps = self._steps.pop(ended.slot, [])
        name = _quoted(ended.serial or ended.mac or ended.slot)
        pieces: Pieces = [(padded(name, _NAME_CELLS), "bold"), ("  ", None)]
        word = verdict_word(ended.outcome, self._speech)
        pieces += [(padded(word, _VERDICT_CELLS), COLOURS[ended.outcome]), (f"{ended.seconds:6.1f}s", None)]
        if ended.serial or ended.mac:
            pieces.append((f"  {end_of(_quoted(ended.slot), _SLOT_CELLS)}", "bright_black"))
        if ended.lacks_label:
            words = ("label", ended.label or "missing")
            pieces.append((f"  {' '.join(map(self._speech.tr, words))}", COLOURS[Outcome.ERROR]))
        room = (width or _WIDTH) - _size(pieces)
        return [*pieces, *self._shown(steps, room), *self._reasons(ended, [step for step in steps if _bad(step)])]

    def _shown(self, steps: list[StepEnded], room: int) -> Pieces:
        """Return the steps that did not pass, and those of the others for which there is *room*, in their order."""
        named = {step.step: self._step(step) for step in steps if _bad(step)}
        room -= sum(_size(one) for one in named.values())
        good = {step.step: step for step in steps if not _bad(step) and _tells(step)}
        for step in (*_SHOWN, *(step for step in good if step.own)):
            if step in named or step not in good or _size(self._step(good[step])) > room:
                continue
            named[step] = self._step(good[step])
            room -= _size(named[step])
        return [piece for step in steps for piece in named.get(step.step, [])]

    def _step(self, step: StepEnded) -> Pieces:
        name: tuple[str, str | None] = (f"  {self._speech.tr(step.step.value)} ", None)
        if not _bad(step):
            known = step.measurements.get("label")  # what is known of the label
            word = "" if known is None else f"{self._speech.tr(str(known))} "
            return [name, (f"{word}{step.seconds:.1f}", None)]
        return [name, (verdict_word(step.outcome, self._speech), COLOURS[step.outcome]), (f" {step.seconds:.1f}", None)]

    def _reasons(self, ended: UnitEnded, bad: list[StepEnded]) -> Pieces:
        """Return the reasons, each on a line below the unit's."""
        if isinstance(ended.error, BatchUsedUp):  # the line ends with this error, for all slots
            return []
        if self._single and (ended.outcome is Outcome.ERROR or isinstance(ended.error, IntegrityError)):
            return []
        tr = self._speech.tr
        told = [f"{tr(step.step.value)}: {self._reason(step)}" for step in bad]
        if not told and ended.reason:
            told = [self._reason(ended)]
        return [(f"\n    {text}", None) for text in told]

    def _reason(self, event: StepEnded | UnitEnded) -> str:
        return _quoted(self._speech.meaning(event.cause, event.reason))


def _size(pieces: Pieces) -> int:
    return sum(cells(text) for text, _ in pieces)


def _tells(step: StepEnded) -> bool:
    """Whether the step is worth a word: the step `label` is, if the line prints labels."""
    return step.step is not Step.LABEL or "label" in step.measurements


def _bad(step: StepEnded) -> bool:
    return step.outcome not in (Outcome.PASS, Outcome.SKIP)


def _quoted(text: str | None) -> str:
    """Return *text*, which may quote the device or name a port, so that it cannot pass for other lines."""
    return one_line(text or "", _LONGEST_QUOTE)


class PlainView:
    """One line per unit on stdout, messages on stderr, and the totals at the end."""

    def __init__(self, *, speech: Speech = _ENGLISH, single: bool = False) -> None:
        self._speech = speech
        self._lines = UnitLines(speech, single=single)
        self._end = None if single else ShiftEnd(speech)

    def show(self, event: LineEvent) -> None:
        """Print a unit that has ended, or a message."""
        self._lines.note(event)
        if self._end is not None:
            self._end.note(event)
        if isinstance(event, UnitEnded):
            width = width_of(sys.stdout)
            pieces = fold_pieces(self._lines.line(event, width), width)
            click.echo("".join(click.style(text, fg=_plain(colour)) for text, colour in pieces))
        elif isinstance(event, Message):
            speak(event, self._speech)

    def close(self, _: Summary, /) -> None:
        """Print the totals."""
        if self._end is not None:
            self._end.show()


def _plain(colour: str | None) -> str | None:
    return None if colour == "bold" else colour


def speak(message: Message, speech: Speech = _ENGLISH) -> None:
    """Print a message on stderr, with its slot."""
    text = _with_slot(message, speech)
    if message.level == "warning":
        terminal.warn(text)
    else:
        terminal.say(text)


def _with_slot(message: Message, speech: Speech) -> str:
    """Return the text of *message* with its slot, unless it is about the whole line."""
    text = _quoted(speech.said(message.text, message.about))
    return f"{_quoted(message.slot)}: {text}" if message.slot else text


class LiveView:
    """A live table of the slots on *console* (stderr); the lines of units that have ended scroll away above it."""

    def __init__(
        self,
        slots: tuple[str, ...],
        console: Console | None = None,
        *,
        speech: Speech = _ENGLISH,
        single: bool = False,
    ) -> None:
        from rich.console import Console
        from rich.live import Live

        self._speech = speech
        self._lines = UnitLines(speech, single=single)
        self._end = ShiftEnd(speech)
        self._first_pass: Ratio | None = None
        self._single = single
        self._table = LiveTable(slots, speech=speech)
        self._console = console or Console(stderr=True, highlight=False, markup=False)
        self._live = Live(console=self._console, refresh_per_second=10, transient=True, get_renderable=self._render)

    def _render(self) -> Table:
        return self._table.render(self._console.width, self._console.height, self._first_pass, self._end.seconds)

    def show(self, event: LineEvent) -> None:
        """Redraw the row of the slot, and print a unit that has ended above the table."""
        # Not before the first event: messages printed until then would be drawn over. The first frame is drawn here:
        # rich learns its height while it draws it, and a message beside the thread that draws the others would miss it.
        self._live.start(refresh=True)
        self._lines.note(event)
        self._table.note(event)
        self._end.note(event)
        match event:
            case UnitEnded():
                self._first_pass = self._end.first_pass  # not at each frame: a different thread draws ten a second
                self._print(event)
            case Message():
                said = f"rmfab: {_with_slot(event, self._speech)}"
                self._console.print(fold(said, self._console.width), soft_wrap=True)

    def _print(self, ended: UnitEnded) -> None:
        pieces = self._lines.line(ended, width_of(sys.stdout))
        if not sys.stdout.isatty():
            click.echo("".join(text for text, _ in pieces))
            return
        from rich.text import Text

        styled = Text()
        for text, colour in fold_pieces(pieces, width_of(sys.stdout)):
            styled.append(text, style=colour or "")
        self._console.print(styled, soft_wrap=True)

    def close(self, _: Summary, /) -> None:
        """Remove the table, and print the totals."""
        self._live.stop()
        if not self._single:
            self._end.show()
