"""The screen on a terminal: the only file that knows Textual.

One widget shows the rows that `draw_*.py` have drawn, and redraws those that have changed: at once when a slot changes
its state, twice a second for clocks and bars. Keys go to the scan field, which always has the focus.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import App, ComposeResult
from textual.geometry import Region, Size
from textual.message import Message as TextualMessage
from textual.strip import Strip
from textual.widget import Widget

from rmfab.line.events import StepProgress, UnitEnded
from rmfab.screen.desk import Desk, Panel, Told
from rmfab.screen.ink import Row
from rmfab.screen.keys import Keys
from rmfab.screen.scans import PAUSE_SECONDS
from rmfab.screen.theme import COLOURS, NO_COLOURS
from rmfab.signals import on_continue

TICK_SECONDS = 0.5
_SOON_SECONDS = 0.04
_KEY_NAMES = {"ctrl+c": "f10", "ctrl+q": "f10", "ctrl+m": "enter", "ctrl+j": "enter"}


class Happened(TextualMessage):
    """What a thread of the line has told."""

    def __init__(self, what: Told) -> None:
        super().__init__()
        self.what = what


class LineEnded(TextualMessage):
    """The line has ended, because of *error* or by itself."""

    def __init__(self, error: BaseException | None) -> None:
        super().__init__()
        self.error = error


class LeaveScreen(TextualMessage):
    """A signal asks the screen to end, together with its line."""


class Continued(TextualMessage):
    """This process goes on after it was stopped; meanwhile a shell may have had the terminal."""


class RowsWidget(Widget, can_focus=True):
    """The whole screen as rows of styled text."""

    DEFAULT_CSS = "RowsWidget { width: 100%; height: 100%; }"

    def __init__(self, styles: Mapping[str, Style]) -> None:
        super().__init__()
        self._theme = styles
        self._rows: list[Row] = []

    def show(self, rows: list[Row]) -> None:
        """Show *rows*; only those that differ from the last ones are drawn again."""
        before, self._rows = self._rows, rows
        if len(before) != len(rows):
            self.refresh()
            return
        changed = [Region(0, y, self.size.width, 1) for y, row in enumerate(rows) if before[y] != row]
        if changed:
            self.refresh(*changed)

    def render_line(self, y: int) -> Strip:
        """Return row *y*, as Textual asks for it."""
        row = self._rows[y] if y < len(self._rows) else ()
        strip = Strip([Segment(text, self._theme[style]) for text, style in row])
        return strip.adjust_cell_length(self.size.width, self._theme["paper"])

    def get_content_width(self, container: Size, viewport: Size) -> int:  # noqa: ARG002 - Textual's signature
        """Return the whole width."""
        return container.width


class LineApp(App[None], inherit_bindings=False):
    """The screen of one line. *desk* keeps the model and answers keys; *started* is called once it is shown."""

    ENABLE_COMMAND_PALETTE = False
    CSS = "Screen { background: #101418; overflow: hidden; }"
    BINDINGS: ClassVar = []

    def __init__(
        self,
        desk: Desk,
        started: Callable[[LineApp], None],
        *,
        colours: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.desk = desk
        self.ended: LineEnded | None = None
        self._started = started
        self._clock = clock
        self._sheet = RowsWidget(COLOURS if colours else NO_COLOURS)
        self._progress: dict[str, StepProgress] = {}
        self._keys = Keys(desk)
        self._drawing = False

    def compose(self) -> ComposeResult:
        """Yield the one widget."""
        yield self._sheet

    def on_mount(self) -> None:
        """Start the clock, and whatever feeds this screen."""
        if not self.is_headless:
            # Textual's own handler takes the terminal a second time: two threads would read the keys, and the modes to
            # restore at the end would be the screen's (textual.drivers.linux_driver).
            on_continue(lambda: self.post_message(Continued()))
        self._sheet.focus()
        self.set_interval(TICK_SECONDS, self._tick)
        self._draw()
        self._started(self)

    def tell(self, what: Told) -> None:
        """Take in *what*, from any thread. Progress waits for the next tick: there are hundreds a second."""
        if isinstance(what, StepProgress):
            self._progress[what.slot] = what
        else:
            self.post_message(Happened(what))

    def end(self, error: BaseException | None) -> None:
        """Note that the line has ended, from any thread."""
        self.post_message(LineEnded(error))

    def leave(self) -> None:
        """End as soon as the line has ended; a handler of signals calls it."""
        self.post_message(LeaveScreen())

    def on_leave_screen(self) -> None:
        """End now if the line has ended before."""
        self.desk.ending += 1
        if self.ended is not None:
            self.exit()

    def on_continued(self) -> None:
        """Take the terminal again, from the start."""
        with self.suspend():
            pass

    def on_happened(self, message: Happened) -> None:
        """Take in what a thread has told."""
        what, now = message.what, self._clock()
        self.desk.take(what, now)
        if isinstance(what, UnitEnded) and self.desk.rings(what):
            self.bell()
        self._soon()

    def on_line_ended(self, message: LineEnded) -> None:
        """Stay until the operator has seen why, unless the operator ended it."""
        self.ended = message
        if self.desk.line_ended(message.error):
            self.exit()
        self._soon()

    def on_key(self, event: events.Key) -> None:
        """Hand the key to the desk."""
        event.stop()
        event.prevent_default()
        name = _KEY_NAMES.get(event.key, event.key)
        letter = event.character if event.is_printable else None
        if self._keys.press(name, letter, self._clock(), Panel(self.size.width, self.size.height)):
            self.exit()
        if self.desk.scan.text:
            self.set_timer(1.2 * PAUSE_SECONDS, self._rested)
        self._soon()

    def on_paste(self, event: events.Paste) -> None:
        """Take in a scan that the terminal hands over as a paste."""
        event.stop()
        now = self._clock()
        for letter in event.text.splitlines()[0][:512] if event.text else "":
            self.desk.scan.type(letter, now)
        self.set_timer(1.2 * PAUSE_SECONDS, self._rested)
        self._soon()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._soon()

    def _rested(self) -> None:
        self._keys.rested(self._clock(), Panel(self.size.width, self.size.height))
        self._soon()

    def _tick(self) -> None:
        now = self._clock()
        while self._progress:
            _, late = self._progress.popitem()
            self.desk.take(late, now)
        self._draw()

    def _soon(self) -> None:
        """Draw in a moment, once for all that happens until then."""
        if not self._drawing:
            self._drawing = True
            self.set_timer(_SOON_SECONDS, self._draw)

    def _draw(self) -> None:
        self._drawing = False
        if self.size.width and self.size.height:
            self._sheet.show(self.desk.rows(Panel(self.size.width, self.size.height), self._clock()))

    def _fatal_error(self) -> None:
        """End because of a bug. Textual would print a traceback with the values of variables, secrets among them."""
        self._close_messages_no_wait()

    @property
    def bug(self) -> Exception | None:
        """The exception that has ended the screen, if one has."""
        return self._exception
