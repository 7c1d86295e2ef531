"""The live table on terminals of several sizes, as a terminal shows it: failures and work are always in sight."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyte
import pytest
from rich.console import Console

from rmfab.commands.line_view import LiveView
from rmfab.commands.live_table import LiveTable, SlotRow, choose
from rmfab.ledger.events import Outcome
from rmfab.line.events import LineEvent, SlotWaiting, Step, StepEnded, StepProgress, StepStarted, Summary, UnitEnded
from rmfab.line.probe import Probe

SIZES = [(80, 24), (200, 60), (60, 10), (100, 34), (40, 5)]
SLOTS = tuple(f"S{number:02}" for number in range(32))


def at(slot: str) -> tuple[str, str, str, str, str | None]:
    return "2026-01-01T00:00:00Z", "bench", slot, f"LMP-0000{slot[1:]}", None


def started(slot: str, step: Step = Step.FLASH) -> StepStarted:
    return StepStarted(*at(slot), step)


def ended(slot: str, outcome: Outcome) -> UnitEnded:
    return UnitEnded(*at(slot), outcome, "panic", "the firmware panicked", 1.0, None)


class Screen:
    """A live view of *slots* on a terminal of *width* x *height*."""

    def __init__(
        self, width: int, height: int, monkeypatch: pytest.MonkeyPatch, slots: tuple[str, ...] = SLOTS
    ) -> None:
        self.width = width
        monkeypatch.setattr("sys.stdout", type("Out", (io.StringIO,), {"isatty": lambda _: True})())
        self._file = io.StringIO()
        self._screen = pyte.Screen(width, height)
        self._stream = pyte.Stream(self._screen)
        self._now = 0.0
        console = Console(
            file=self._file, force_terminal=True, width=width, height=height, color_system="standard",
            highlight=False, markup=False,
        )  # fmt: skip
        self.view = LiveView(slots, console)
        self.view._table = LiveTable(slots, lambda: self._now)
        self.view._live.auto_refresh = False

    def show(self, *events: LineEvent) -> None:
        for event in events:
            self.view.show(event)

    def capture(self, now: float = 0.0) -> list[str]:
        """Return the lines of the terminal at *now*, in seconds."""
        self._now = now
        self.view._live.refresh()
        return self.drawn()

    def drawn(self) -> list[str]:
        """Return the lines of the terminal as they are."""
        self._stream.feed(self._file.getvalue().replace("\n", "\r\n"))
        self._file.seek(0)
        self._file.truncate()
        return [line.rstrip() for line in self._screen.display]

    def echo(self, text: str) -> None:
        """Show *text* where the cursor is, as the terminal itself echoes what is typed."""
        self.drawn()
        self._stream.feed(text)

    def colour(self, word: str) -> str:
        """Return the colour of the last *word* on the terminal."""
        rows = [row for row, line in enumerate(self._screen.display) if word in line]
        return self._screen.buffer[rows[-1]][self._screen.display[rows[-1]].index(word)].fg


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    one = Screen(*request.param, monkeypatch)
    yield one
    one.view.close(Summary())


def rows_of(lines: list[str], slot: str) -> list[str]:
    """Return the table's rows of *slot*; the lines above the table start with a serial."""
    return [line for line in lines if line.startswith(f"{slot} ")]


@pytest.mark.slow
def test_a_slot_in_trouble_keeps_its_name(screen: Screen) -> None:
    """Each row starts with its slot and ends with its state, however much a slot has to say."""
    text = Probe(silent="no-answer").waiting
    screen.show(
        started("S00"),
        ended("S02", Outcome.PASS),
        SlotWaiting("2026-01-01T00:00:00Z", "bench", "S01", None, None, text),
    )
    for lines in (screen.capture(turn * 3.0) for turn in range(32)):
        rows = [line for line in lines if line[:1] == "S" and line[1:3].isdigit()]
        assert rows, lines
        assert all(len(row) <= screen.width for row in rows)
        assert all("waiting" in row for row in rows if row.startswith("S01")), rows
        assert len([line for line in lines if line.lstrip().startswith("waiting")]) == 0, lines


def test_the_first_frame_is_drawn_before_a_message(screen: Screen) -> None:
    """The table stands before the first message is printed, which then goes above it, on a line of its own."""
    screen.show(started("S00"))
    assert any(line.startswith("32 slots: ") for line in screen.drawn()), screen.drawn()


@pytest.mark.slow
def test_a_failure_stays_in_sight(screen: Screen) -> None:
    """With 32 slots at work, a unit that failed is on the terminal in 40 of 40 captures, wherever its slot stands."""
    screen.show(*(started(slot) for slot in SLOTS[:31]), ended("S30", Outcome.FAIL))
    for second in range(40):
        lines = screen.capture(float(second))
        assert any("FAIL" in row for row in rows_of(lines, "S30")), lines
        assert any(line.startswith("32 slots: 30 at work, 1 waiting") for line in lines), lines


@pytest.mark.slow
def test_every_slot_has_its_turn(screen: Screen) -> None:
    """All slots are shown within one round of turns, those at work and failed in each capture if there is room."""
    done = [ended(slot, Outcome.PASS) for slot in SLOTS[:20]]
    screen.show(*done, started("S30"), ended("S31", Outcome.ERROR))
    seen: set[str] = set()
    for turn in range(40):
        lines = screen.capture(turn * 3.0)
        shown = {slot for slot in SLOTS if rows_of(lines, slot)}
        assert {"S30", "S31"} <= shown or len(lines) < 6
        seen |= shown
    assert seen == set(SLOTS)


@pytest.mark.slow
def test_more_failures_than_lines(screen: Screen) -> None:
    """If even the failures do not fit, each is shown in its turn."""
    screen.show(*(ended(slot, Outcome.FAIL) for slot in SLOTS))
    seen: set[str] = set()
    for turn in range(40):
        lines = screen.capture(turn * 3.0)
        seen |= {slot for slot in SLOTS if any("FAIL" in row for row in rows_of(lines, slot))}
    assert seen == set(SLOTS)
    assert any("32 FAIL" in line for line in lines) or len(lines[0]) < 60


def test_outcomes_have_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure is red, an error of the station magenta, a pass green, in the table and in the totals."""
    screen = Screen(80, 24, monkeypatch)
    outcomes = {"S00": Outcome.PASS, "S01": Outcome.FAIL, "S02": Outcome.ERROR, "S03": Outcome.ABORTED}
    screen.show(*(ended(slot, outcome) for slot, outcome in outcomes.items()))
    lines = screen.capture()
    told = {word: screen.colour(word) for word in ("1 PASS", "1 FAIL", "1 ERROR", "1 ABORTED")}
    assert told == {"1 PASS": "green", "1 FAIL": "red", "1 ERROR": "magenta", "1 ABORTED": "brown"}, lines
    assert all(screen.colour(slot) for slot in outcomes)
    screen.view.close(Summary())


@pytest.mark.slow
def test_a_table_never_scrolls(screen: Screen) -> None:
    """The table is redrawn in place: after many redraws no row is there twice."""
    ending = [
        StepEnded(*at("S05"), Step.BOOT, Outcome.FAIL, "panic", "it panicked", 1.0, {}),
        ended("S05", Outcome.FAIL),
    ]
    screen.show(*(started(slot) for slot in SLOTS), *ending)
    for number in range(30):
        screen.show(StepProgress(*at("S06"), Step.FLASH, number, 30))
        lines = screen.capture(number * 0.1)
    assert all(len(rows_of(lines, slot)) <= 1 for slot in SLOTS), lines
    assert sum("slots:" in line for line in lines) == 1


@pytest.mark.parametrize("interrupts", [1, 2])
@pytest.mark.parametrize("width", [40, 80])
def test_nothing_of_the_table_stays_after_an_interrupt(
    monkeypatch: pytest.MonkeyPatch, width: int, interrupts: int
) -> None:
    """The terminal echoes `^C` at the end of the table's last line, and the table is removed all the same."""
    screen = Screen(width, 24, monkeypatch, SLOTS[:5])
    outcomes = (Outcome.FAIL, Outcome.PASS, Outcome.ERROR, Outcome.ABORTED, Outcome.SEEN)
    screen.show(*(ended(slot, outcome) for slot, outcome in zip(SLOTS[:5], outcomes, strict=True)))
    assert any(rows_of(screen.capture(), "S00"))
    screen.echo("^C" * interrupts)
    screen.view._live.stop()
    lines = screen.drawn()
    assert not any(rows_of(lines, slot) for slot in SLOTS), lines
    assert not any("slots:" in line for line in lines), lines


def test_wide_letters_do_not_break_the_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port's name in wide letters takes two columns each, and the step still stands in its column."""
    table = LiveTable(("左边的端口", "B"))
    console = Console(file=io.StringIO(), width=80, height=24)
    console.print(table.render(80, 24))
    first, second = console.file.getvalue().splitlines()[:2]  # type: ignore[attr-defined]
    from rich.cells import cell_len

    assert cell_len(first.split("waiting")[0]) == len(second.split("waiting")[0])


def test_the_order_of_the_station_is_kept_if_all_fit() -> None:
    """Rows that fit do not move."""
    rows = [SlotRow("A", outcome=Outcome.PASS), SlotRow("B", step="flash"), SlotRow("C", outcome=Outcome.FAIL)]
    assert [row.slot for row in choose(rows, 3, 0)] == ["A", "B", "C"]
    assert [row.slot for row in choose(rows, 2, 0)] == ["C", "B"]
    assert [row.slot for row in choose(rows, 2, 1)] == ["C", "A"]
    assert [row.slot for row in choose(rows, 1, 2)] == ["A"]
