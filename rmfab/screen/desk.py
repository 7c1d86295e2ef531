"""The desk of the operator: events, keys and scans in, orders to the line out, and the rows of the whole screen.

It knows no terminal and reads no clock: `app.py` hands it keys and times, and shows the rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from rmfab.errors import RmfabError, printable
from rmfab.language.line_texts import REQUEST_TEXTS
from rmfab.language.speech import Language, Speech, speech_in
from rmfab.ledger.events import Outcome
from rmfab.line.events import LineEvent, Message, UnitEnded
from rmfab.line.shifts import HOST_TIME
from rmfab.report.period import Recently
from rmfab.screen.draw_bars import FOOT_ROWS, HEAD_ROWS, FootText, Surroundings, draw_foot, draw_head
from rmfab.screen.draw_detail import draw_detail
from rmfab.screen.draw_help import draw_help
from rmfab.screen.draw_numbers import draw_numbers
from rmfab.screen.draw_tile import what_is_wrong
from rmfab.screen.draw_wall import Frame, draw_wall
from rmfab.screen.hands import Hands
from rmfab.screen.ink import Row, filled
from rmfab.screen.scans import ScanField
from rmfab.screen.screen_terminal import Answers, Question, ScreenTerminal
from rmfab.screen.top_counter import TopCounter
from rmfab.screen.wall import Past, Wall

Told = LineEvent | Question | Surroundings | Past | tuple[str, str]
"""An event of the line, a question, what is around the line, what was before it, or a message as level and text."""
_NEWS_SECONDS: Mapping[str, float] = {"info": 15.0, "warning": 60.0}
"""How long a message stands at the foot before it gives way. What does not change is in the head, or on a tile."""


class Body(Enum):
    """What the middle of the screen shows."""

    WALL = auto()
    DETAIL = auto()
    NUMBERS = auto()
    HELP = auto()


@dataclass(frozen=True)
class Panel:
    """The size of the screen, in cells."""

    width: int
    height: int

    @property
    def body(self) -> int:
        """The rows between head and foot."""
        return max(1, self.height - HEAD_ROWS - FOOT_ROWS)


class Desk:
    """The operator's desk over *wall*. Its orders go to *hands*, its answers and scans for the line to *terminal*.

    *today*: since when hour, shift and day count now.
    """

    def __init__(
        self,
        wall: Wall,
        hands: Hands,
        terminal: ScreenTerminal,
        today: Callable[[], Recently],
        language: Language = Language.ENGLISH,
    ) -> None:
        self.wall = wall
        self.hands = hands
        self.terminal = terminal
        self.language = language
        self._counter = TopCounter(wall, today)
        self.limits: Mapping[str, str] = {}
        self.local = HOST_TIME
        self.sound = False
        self.only_ascii = False
        self.around = Surroundings()
        self.left: int | None = None
        self.scan = ScanField()
        self.questions: deque[Question] = deque()
        self.chosen = next(iter(wall.tiles), "")
        self.body = Body.WALL
        self.offset = 0
        self.ending = 0
        self.over: str | None = None
        self._last: Message | None = None
        self._last_shown: tuple[Message | None, float] = (None, 0.0)
        self._console: tuple[object, tuple[str, ...]] = (None, ())

    @property
    def speech(self) -> Speech:
        """The texts of the chosen language."""
        return speech_in(self.language)

    def take(self, what: Told, now: float) -> None:
        """Take in what a thread of the line has told."""
        match what:
            case Past():
                self.wall.recall(what)
            case Question():
                self.questions.append(what)
            case Surroundings():
                self.around = what
            case LineEvent():
                self.wall.take(what, now)
                if isinstance(what, Message) and what.text not in REQUEST_TEXTS:
                    self._last = what
            case (level, text):
                self._last = Message("", self.wall.heading.station, "", None, None, level, text)

    def note(self, text: str, level: str = "info", **values: object) -> None:
        """Show a message of the screen itself, in the operator's language."""
        said = self.speech.tr(text, **values)
        self._last = Message("", self.wall.heading.station, "", None, None, level, said)

    def rings(self, ended: UnitEnded) -> bool:
        """Return whether the verdict *ended* rings the bell."""
        return self.sound and ended.outcome is Outcome.FAIL

    def line_ended(self, error: BaseException | None) -> bool:
        """Note that the line has ended; return whether the screen ends with it, because the operator wanted that."""
        self.over = error.what if isinstance(error, RmfabError) else type(error).__name__ if error else ""
        return self.ending > 0

    # What is shown

    def rows(self, panel: Panel, now: float) -> list[Row]:
        """Return the whole screen as rows of its size."""
        numbers = self._counter.count(self.left)
        return [
            *draw_head(self.wall.heading, numbers, self._now_around(now), self.speech, panel.width),
            *self._body(Frame(panel.width, panel.body, self.speech, now, self.chosen, self.local)),
            *draw_foot(self._foot(now), self.speech, panel.width),
        ]

    def _now_around(self, now: float) -> Surroundings:
        around = self.around
        return Surroundings(
            around.operator,
            around.ledger,
            around.ledger_well,
            around.printer,
            around.printer_well,
            now - self.wall.began,
        )

    def _body(self, view: Frame) -> list[Row]:
        match self.body:
            case Body.WALL:
                return draw_wall(self.wall, view)
            case Body.DETAIL:
                tile = self.wall.tiles[self.chosen]
                visits = self.wall.visits(self.chosen)
                rows = draw_detail(tile, visits, self._console_of(self.chosen), self.limits, view)
            case Body.NUMBERS:
                rows = draw_numbers(self.wall.tally, tuple(self.wall.tiles), self._counter.since.shift, view)
            case Body.HELP:
                rows = draw_help(view)
        self.offset = max(0, min(self.offset, len(rows) - view.height))
        shown = [filled(row, view.width, "paper") for row in rows[self.offset : self.offset + view.height]]
        if hidden := len(rows) - self.offset - len(shown):
            more = self.speech.tr("PgDn: {count} more lines", count=hidden + 1)
            shown[-1] = filled(((f" {more}", "strong"),), view.width, "paper")
        return [*shown, *[((" " * view.width, "paper"),)] * (view.height - len(shown))]

    def _console_of(self, slot: str) -> tuple[str, ...]:
        """Return the end of the console of the last unit on *slot*; it is read once for each run."""
        visits = self.wall.visits(slot)
        newest = visits[0] if visits else None
        if self._console[0] is not newest:
            self._console = (newest, () if newest is None else self.hands.console(newest.ended.log))
        return self._console[1]

    def _foot(self, now: float) -> FootText:
        if self.questions:
            asked = self.questions[0]
            typed = "*" * len(self.scan.text) if asked.kind is Answers.HIDDEN else self.scan.shown
            how = self.speech.tr("[y/n]") if asked.kind is Answers.YES_OR_NO else ""
            return FootText(typed, printable(f"{self.speech.said(asked.text)} {how}"), None, len(self.questions) - 1)
        if self.over is not None:
            why = self.speech.said(self.over) or self.speech.tr("all is done")
            return FootText("", self.speech.tr("the line has ended: {why}. F10 leaves the screen", why=printable(why)))
        return FootText(self.scan.shown, "", self._message(now))

    def _message(self, now: float) -> Message | None:
        """Return the last message as long as it is news, then what is wrong on the chosen slot, if something is.

        While the line waits for an answer or a scan, its request stays.
        """
        last = self._last
        if self._last_shown[0] is not last:
            self._last_shown = (last, now)
        news = last is not None and now - self._last_shown[1] < _NEWS_SECONDS[last.level]
        if news or self.terminal.wants_input:
            return last
        tile = self.wall.tiles.get(self.chosen)
        told = "" if tile is None else "  ".join(text for text, _ in what_is_wrong(tile, self.speech))
        if told:
            return Message("", self.wall.heading.station, self.chosen, None, None, "info", told)
        return last if last is not None and last.level == "warning" else None
