"""A stage for the screen: events of units as a line tells them, hands that note orders, and the screen as text."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from textual.pilot import Pilot

from rmfab.language.speech import Language
from rmfab.ledger.events import Outcome
from rmfab.line.events import (
    LineEvent,
    Message,
    SlotService,
    SlotWaiting,
    Step,
    StepEnded,
    StepProgress,
    StepStarted,
    UnitEnded,
)
from rmfab.line.shifts import PER_DAY
from rmfab.operations.run_line import RUN_STEPS
from rmfab.operations.terminal import UNATTENDED
from rmfab.report.period import recently
from rmfab.screen.app import LineApp, RowsWidget
from rmfab.screen.desk import Desk, Panel
from rmfab.screen.ink import plain
from rmfab.screen.screen_terminal import ScreenTerminal
from rmfab.screen.wall import Heading, Wall
from tests.patience import PATIENCE

HEADING = Heading("lamp", "bench-1", RUN_STEPS, "lamp-0001", "1.4.0")
SMALL, LARGE = (80, 24), (200, 60)


def slots(count: int) -> tuple[str, ...]:
    """Return the names of *count* slots: A1 to A8, B1 to B8 and so on."""
    return tuple(f"{'ABCD'[number // 8]}{number % 8 + 1}" for number in range(count))


def at(slot: str, serial: str | None = "LMP-000001") -> tuple[str, str, str, str | None, str | None]:
    """Return the origin of an event."""
    return "2026-01-01T10:11:12.000Z", "bench-1", slot, serial, None if serial is None else "24:0a:c4:1f:67:7d"


def service(slot: str, reason: str | None, *, locked: bool = True) -> SlotService:
    """Return the event of a slot that goes out of service, or that is in service again."""
    return SlotService(*at(slot, None), reason, locked)


def step(slot: str, which: Step, seconds: float = 1.0, serial: str = "LMP-000001") -> tuple[LineEvent, ...]:
    """Return the events of a step that passes."""
    return (
        StepStarted(*at(slot, serial), which),
        StepEnded(*at(slot, serial), which, Outcome.PASS, None, None, seconds, {}),
    )


def ended(
    slot: str, outcome: Outcome = Outcome.PASS, cause: str | None = None, serial: str | None = "LMP-000001"
) -> UnitEnded:
    """Return the verdict of a unit."""
    reason = None if cause is None else f"it said {cause}"
    return UnitEnded(*at(slot, serial), outcome, cause, reason, 16.0, None)


def failed(slot: str, cause: str = "brownout", serial: str = "LMP-000001") -> tuple[LineEvent, ...]:
    """Return the events of a unit that fails at its boot."""
    return (
        *step(slot, Step.FLASH, 11.8, serial),
        StepStarted(*at(slot, serial), Step.BOOT),
        StepEnded(*at(slot, serial), Step.BOOT, Outcome.FAIL, cause, f"it said {cause}", 1.0, {"rssi": -61}),
        ended(slot, Outcome.FAIL, cause, serial),
    )


def empty(slot: str) -> SlotWaiting:
    """Return the event of a slot without a board."""
    return SlotWaiting(*at(slot, None), "waiting")


def progress(slot: str, done: int, total: int = 100) -> StepProgress:
    """Return progress of the step `flash`."""
    return StepProgress(*at(slot), Step.FLASH, done, total)


def message(slot: str, text: str, level: str = "info") -> Message:
    """Return a message of the line."""
    return Message(*at(slot, None), level, text)


@dataclass
class NotingHands:
    """Hands that note each order."""

    orders: list[tuple[str, ...]] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)
    log: tuple[str, ...] = ("I (312) boot: line one", "I (400) app: PoP ********")
    at_work: bool = True

    def acknowledge(self, slot: str) -> None:
        self.orders.append(("acknowledge", slot))

    def start(self, slot: str) -> None:
        self.orders.append(("start", slot))

    def abort(self, slot: str) -> bool:
        self.orders.append(("abort", slot))
        return self.at_work

    def reprint(self, slot: str, serial: str) -> str | None:
        self.orders.append(("reprint", slot, serial))
        return None

    def close(self) -> None:
        self.orders.append(("close",))

    def finish(self) -> None:
        self.orders.append(("finish",))

    def stop(self) -> None:
        self.orders.append(("stop",))

    def learn(self, serial: str) -> None:
        self.orders.append(("learn", serial))

    @property
    def printer(self) -> str:
        return ""

    def unlock(self, slot: str) -> bool:
        self.orders.append(("unlock", slot))
        return self.at_work

    def unit_of(self, payload: str) -> str | None:
        return self.units.get(payload)

    def enter(self, operator: str) -> str | None:
        self.orders.append(("enter", operator))
        return None

    def console(self, log: str | None) -> tuple[str, ...]:
        return self.log


@dataclass
class Stage:
    """A desk over *count* slots, with noting hands."""

    count: int = 8
    language: Language = Language.ENGLISH
    hands: NotingHands = field(default_factory=NotingHands)
    moment: datetime = datetime(2026, 1, 1, 10, 12, tzinfo=UTC)
    terminal: ScreenTerminal = field(default_factory=lambda: ScreenTerminal(UNATTENDED))

    def __post_init__(self) -> None:
        wall = Wall(HEADING, slots(self.count), 0.0)
        self.desk = Desk(wall, self.hands, self.terminal, lambda: recently(self.moment, PER_DAY), self.language)

    def show(self, *events: LineEvent, now: float = 1.0) -> None:
        """Let the line tell *events*."""
        for event in events:
            self.desk.take(event, now)

    def text(self, size: tuple[int, int] = SMALL, now: float = 2.0) -> str:
        """Return the screen as text."""
        return plain(self.desk.rows(Panel(*size), now))

    def play(self, story: Callable[[Pilot[None]], Awaitable[None]], size: tuple[int, int] = SMALL) -> None:
        """Show the screen on a terminal in memory, and play *story* on it."""

        async def run() -> None:
            app = LineApp(self.desk, lambda app: self.terminal.shown(app.tell))
            async with app.run_test(size=size) as pilot:
                await pilot.pause()
                await story(pilot)
            self.terminal.ended()

        asyncio.run(asyncio.wait_for(run(), 2 * PATIENCE))


async def scanned(pilot: Pilot[None], text: str) -> None:
    """Scan *text*: its letters, and Enter."""
    names = {" ": "space", ":": "colon", "{": "left_curly_bracket", "-": "minus"}
    await pilot.press(*(names.get(letter, letter) for letter in text), "enter")


def shown(pilot: Pilot[None]) -> str:
    """Return what the screen shows now, as text."""
    sheet = pilot.app.query_one(RowsWidget)
    return "\n".join(sheet.render_line(y).text for y in range(sheet.size.height))


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    """Wait until *condition* is true. Fail with what the screen shows after PATIENCE."""
    ending = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ending, f"the screen still shows:\n{shown(pilot)}"
        await pilot.pause(0.02)
