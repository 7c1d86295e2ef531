"""Views of the line: one line per unit, a live table on a terminal, or JSON events for programs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

import click

from rmfab.commands import terminal
from rmfab.commands.folding import fold, fold_pieces, width_of
from rmfab.commands.live_table import COLOURS, LiveTable
from rmfab.errors import BatchUsedUp, IntegrityError, one_line
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

_LONGEST_QUOTE = 2000
_SHOWN = (
    Step.FLASH,
    Step.BOOT,
    Step.IDENTIFY,
    Step.PROVISION,
    Step.CLOUD,
    Step.UPDATE,
    Step.BACK,
    Step.RESET,
)


class View(Protocol):
    """A view that shows events as they come."""

    def show(self, event: LineEvent) -> None:
        """Show one event."""

    def close(self, summary: Summary, /) -> None:
        """Close the view after the last event."""


def make_view(json_wanted: bool, slots: tuple[str, ...], *, single: bool = False, asks: bool = False) -> View:
    """Return the view for this command: JSON, live if stderr is a terminal, else plain.

    *single*: only one unit is run, so that the error which ends the command is its reason. *asks*: the operator types
    meanwhile, and a live table would draw over it.
    """
    if json_wanted:
        return JsonView()
    if sys.stderr.isatty() and not terminal.quiet() and not asks:
        return LiveView(slots, single=single)
    return PlainView(single=single)


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

    def __init__(self, *, single: bool) -> None:
        self._single = single
        self._steps: dict[str, list[StepEnded]] = {}

    def note(self, event: LineEvent) -> None:
        """Record a step that has ended."""
        if isinstance(event, StepEnded):
            self._steps.setdefault(event.slot, []).append(event)

    def line(self, ended: UnitEnded) -> Pieces:
        """Return the line of the unit, and below it the reason of each step that did not pass, as coloured pieces."""
        pieces: Pieces = [(f"{_quoted(ended.serial or ended.mac or ended.slot):<12}", "bold")]
        reasons: Pieces = []
        for step in self._steps.pop(ended.slot, []):
            bad = step.outcome not in (Outcome.PASS, Outcome.SKIP)
            if not (bad or step.step in _SHOWN or step.step.own or "label" in step.measurements):
                continue
            pieces += [(f"  {step.step} ", None), (_result(step), COLOURS[step.outcome])]
            pieces.append((f" {step.seconds:.1f}s", None))
            if bad:
                reasons.append((f"\n    {step.step}: {_quoted(step.reason)}", None))
        if isinstance(ended.error, BatchUsedUp):  # the line ends with this error, for all slots
            reasons = []
        elif not reasons and ended.reason:
            reasons.append((f"\n    {_quoted(ended.reason)}", None))
        end: Pieces = [("   ", None), (ended.outcome.value, COLOURS[ended.outcome])]
        if ended.lacks_label:
            end.append((f" label {ended.label}", COLOURS[Outcome.ERROR]))
        if self._single and (ended.outcome is Outcome.ERROR or isinstance(ended.error, IntegrityError)):
            reasons = []
        place: Pieces = [(f"  {_quoted(ended.slot)}", "bright_black")] if ended.serial or ended.mac else []
        return [*pieces, *end, *place, *reasons]


def _result(step: StepEnded) -> str:
    """Return the outcome of a step; of a label, what is known of it."""
    known = step.measurements.get("label")
    return str(known) if known is not None and step.outcome in (Outcome.PASS, Outcome.SKIP) else step.outcome.value


def _quoted(text: str | None) -> str:
    """Return *text*, which may quote the device or name a port, so that it cannot pass for other lines."""
    return one_line(text or "", _LONGEST_QUOTE)


class PlainView:
    """One line per unit on stdout, messages on stderr."""

    def __init__(self, *, single: bool = False) -> None:
        self._lines = UnitLines(single=single)

    def show(self, event: LineEvent) -> None:
        """Print a unit that has ended, or a message."""
        self._lines.note(event)
        if isinstance(event, UnitEnded):
            pieces = fold_pieces(self._lines.line(event), width_of(sys.stdout))
            click.echo("".join(click.style(text, fg=_plain(colour)) for text, colour in pieces))
        elif isinstance(event, Message):
            speak(event)

    def close(self, _: Summary, /) -> None:
        """Do nothing."""


def _plain(colour: str | None) -> str | None:
    return None if colour == "bold" else colour


def speak(message: Message) -> None:
    """Print a message on stderr, with its slot."""
    text = _with_slot(message)
    if message.level == "warning":
        terminal.warn(text)
    else:
        terminal.say(text)


def _with_slot(message: Message) -> str:
    """Return the text of *message* with its slot, unless it is about the whole line."""
    return f"{_quoted(message.slot)}: {_quoted(message.text)}" if message.slot else _quoted(message.text)


class LiveView:
    """A live table of the slots on *console* (stderr); the lines of units that have ended scroll away above it."""

    def __init__(self, slots: tuple[str, ...], console: Console | None = None, *, single: bool = False) -> None:
        from rich.console import Console
        from rich.live import Live

        self._lines = UnitLines(single=single)
        self._table = LiveTable(slots)
        self._console = console or Console(stderr=True, highlight=False, markup=False)
        self._live = Live(console=self._console, refresh_per_second=10, transient=True, get_renderable=self._render)

    def _render(self) -> Table:
        return self._table.render(self._console.width, self._console.height)

    def show(self, event: LineEvent) -> None:
        """Redraw the row of the slot, and print a unit that has ended above the table."""
        # Not before the first event: messages printed until then would be drawn over. The first frame is drawn here:
        # rich learns its height while it draws it, and a message beside the thread that draws the others would miss it.
        self._live.start(refresh=True)
        self._lines.note(event)
        self._table.note(event)
        match event:
            case UnitEnded():
                self._print(event)
            case Message():
                said = f"rmfab: {_with_slot(event)}"
                self._console.print(fold(said, self._console.width), soft_wrap=True)

    def _print(self, ended: UnitEnded) -> None:
        pieces = self._lines.line(ended)
        if not sys.stdout.isatty():
            click.echo("".join(text for text, _ in pieces))
            return
        from rich.text import Text

        styled = Text()
        for text, colour in fold_pieces(pieces, width_of(sys.stdout)):
            styled.append(text, style=colour or "")
        self._console.print(styled, soft_wrap=True)

    def close(self, _: Summary, /) -> None:
        """Remove the table."""
        self._live.stop()
