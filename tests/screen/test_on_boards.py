"""The screen over a real line on virtual boards: what is pressed and scanned there happens to boards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator

import pytest
from textual.pilot import Pilot

from rmfab.errors import StationError, UnitsFailed
from rmfab.identity.qr import parse_payload
from rmfab.language.speech import Language
from rmfab.ledger.events import Outcome
from rmfab.operations.run_line import LineRequest, run_line
from rmfab.operations.terminal import UNATTENDED
from rmfab.report.yields import Ratio
from rmfab.screen.app import LineApp
from rmfab.screen.screen_terminal import ScreenTerminal
from rmfab.screen.show import ScreenOptions, finish_app, prepared_app
from rmfab.screen.tile import Look
from rmfab.virtual import BoardHandle
from tests.line.floor import Factory, serve, spec
from tests.patience import PATIENCE
from tests.report.agreement import called
from tests.screen.stage import SMALL, scanned, shown, until

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rmfab.line.floor._POLL_SECONDS", 0.05)


class Shift:
    """The screen over *boards* at the slots A1, A2 and so on, while its story is played."""

    def __init__(self, factory: Factory, boards: list[BoardHandle], station: str = "", **options: object) -> None:
        slots = "".join(
            f'[[slot]]\nname = "A{number}"\nport = "{board.url}"\nunit = "{board.provisioning_url}"\n'
            for number, board in enumerate(boards, 1)
        )
        (factory.root / "station.toml").write_text(f'[station]\nname = "bench-1"\n{station}\n{slots}', encoding="utf-8")
        self.boards = {f"A{number}": board for number, board in enumerate(boards, 1)}
        self.terminal = ScreenTerminal(UNATTENDED)
        request = LineRequest(release=factory.root / "build", loop=True)
        self.workspace = factory.workspace
        self.run = run_line(self.workspace, request, self.terminal)
        chosen = ScreenOptions(**options)  # type: ignore[arg-type]
        self.app: LineApp = prepared_app(self.workspace, self.run, self.terminal, request, chosen)

    def look(self, slot: str) -> Look:
        """Return how the tile of *slot* looks."""
        return self.app.desk.wall.tiles[slot].look

    def serial(self, slot: str) -> str:
        """Return the serial on *slot*."""
        return self.app.desk.wall.tiles[slot].serial or ""

    async def hand(self, slot: str, command: str) -> None:
        """Do what a hand does to the board on *slot*."""
        await asyncio.to_thread(self.boards[slot].control, command)

    def play(self, story: Callable[[Pilot[None]], Awaitable[None]], size: tuple[int, int] = SMALL) -> None:
        """Play *story*, end the line, and raise what it has ended with."""

        async def run() -> None:
            async with self.app.run_test(size=size) as pilot:
                await story(pilot)
                await pilot.press("f10")
                await until(pilot, lambda: self.app.ended)
            self.terminal.ended()
            self.app.desk.hands.close()

        asyncio.run(asyncio.wait_for(run(), 4 * PATIENCE))
        finish_app(self.app)


@pytest.fixture
def two(factory: Factory) -> Iterator[Shift]:
    """A station with two slots: the board on A2 has a brownout. The line waits for an answer as long as a test does."""
    factory.edit("answer_timeout = 60.0", f"answer_timeout = {PATIENCE:.1f}")
    with serve([spec(), spec(index=1, faults=("brownout",))]) as boards:
        yield Shift(factory, list(boards))


def test_a_fail_holds_its_slot(two: Shift) -> None:
    """A slot with a FAIL starts no other board until the label of the unit is scanned; the other slot goes on."""

    async def story(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: (two.look("A1"), two.look("A2")) == (Look.PASS, Look.FAIL))
        failed = two.serial("A2")
        await two.hand("A2", "swap")
        await until(pilot, lambda: two.app.desk.wall.tiles["A2"].held)
        assert two.look("A2") is Look.FAIL
        await two.hand("A1", "swap panic")
        await until(pilot, lambda: two.look("A1") is Look.FAIL)
        await until(pilot, lambda: failed in two.app.desk.hands._names.values())  # type: ignore[attr-defined]
        name = next(n for n, s in two.app.desk.hands._names.items() if s == failed)  # type: ignore[attr-defined]
        label = f'{{"ver":"v1","name":"{name}","pop":"abcdef01","transport":"ble"}}'
        assert parse_payload(label).name == name
        for letter in label:
            two.app.desk.scan.type(letter, 0.0)
        await until(pilot, lambda: f"({len(label)})" in shown(pilot) or "abcdef01" in shown(pilot))
        assert "abcdef01" not in shown(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: two.look("A2") is Look.PASS)
        assert two.app.desk.wall.tally.units == 4

    with pytest.raises(UnitsFailed):
        two.play(story)


def test_retry_and_abort(two: Shift) -> None:
    """RETRY runs the board that is still there again, with the same identity; F6 aborts it alone.

    At the end the last state of each slot counts: the FAIL is cured, and one slot has no verdict.
    """

    async def story(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: (two.look("A1"), two.look("A2")) == (Look.PASS, Look.FAIL))
        first = two.serial("A2")
        await two.hand("A2", "fault none")
        await scanned(pilot, "RETRY A2")
        await until(pilot, lambda: two.look("A2") is Look.PASS)
        assert two.serial("A2") == first
        await two.hand("A1", "fault stalled-session")  # a good board could have passed before anybody looks
        await scanned(pilot, "RETRY A1")
        await until(pilot, lambda: two.look("A1") is Look.WORKING)
        await pilot.press("f6")
        await until(pilot, lambda: two.look("A1") is Look.ABORTED)
        assert two.look("A2") is Look.PASS

    with pytest.raises(StationError):
        two.play(story)
    assert [one.outcome for one in two.run.ended if one.slot == "A2"] == [Outcome.FAIL, Outcome.PASS]


def test_the_next_run_of_a_shift(factory: Factory) -> None:
    """A second run begins with the day and the shift so far: its numbers are those of the report of the shift.

    A unit that failed in the first run and passes in the second is no first pass of the second.
    """
    with serve([spec(), spec(index=1, faults=("brownout",))]) as boards:
        first = Shift(factory, list(boards))

        async def morning(pilot: Pilot[None]) -> None:
            await until(pilot, lambda: (first.look("A1"), first.look("A2")) == (Look.PASS, Look.FAIL))

        with pytest.raises(UnitsFailed):
            first.play(morning)
        boards[1].control("fault none")
        second = Shift(factory, list(boards))

        async def afternoon(pilot: Pilot[None]) -> None:
            desk = second.app.desk
            await until(pilot, lambda: desk.wall.remembers)
            # In the middle of its work, a swap would be a fault of the slot.
            await until(pilot, lambda: second.look("A1") is Look.PASS)
            await second.hand("A1", "swap")
            await until(pilot, lambda: (second.look("A1"), second.look("A2")) == (Look.PASS, Look.PASS))
            await until(pilot, lambda: " PASS 3   FAIL 0 " in shown(pilot))
            await until(pilot, lambda: "yield 1 h 66.7 %, shift 66.7 %" in shown(pilot))
            await pilot.press("f3")
            await until(pilot, lambda: "boot, brownout:" in shown(pilot))
            assert "1  100 %" in shown(pilot)

        second.play(afternoon)
    report = factory.root / "shift.json"
    called(factory, "report", "--shift", "current", "-o", str(report))
    told = json.loads(report.read_text())
    tally = second.app.desk.wall.tally
    passed = told["totals"]["first_pass"]
    assert tally.first_pass() == Ratio(passed["passed"], passed["passed"] + passed["failed"]) == Ratio(2, 3)
    assert tally.verdicts() == told["totals"]["verdicts"]
    assert [(one.step, one.cause, one.units) for one in tally.first_passes().pareto()] == [
        (one["step"], one["class"], one["units"]) for one in told["causes"]
    ]


def test_starts_by_hand(factory: Factory) -> None:
    """With starts by hand, a board waits for a key or a code."""
    with serve([spec(), spec(index=1)]) as boards:
        shift = Shift(factory, list(boards), by_hand=True)

        async def story(pilot: Pilot[None]) -> None:
            await until(pilot, lambda: (shift.look("A1"), shift.look("A2")) == (Look.HELD, Look.HELD))
            await until(pilot, lambda: "READY" in shown(pilot))
            await scanned(pilot, "START A2")
            await until(pilot, lambda: shift.look("A2") is Look.PASS)
            assert shift.look("A1") is Look.HELD
            await scanned(pilot, "A1")
            await pilot.press("f8")
            await until(pilot, lambda: shift.look("A1") is Look.PASS)

        shift.play(story)


def test_the_language_of_the_line(two: Shift) -> None:
    """In Chinese, causes, remedies and requests of a real line are Chinese."""
    two.app.desk.language = Language.CHINESE

    async def story(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: two.look("A2") is Look.FAIL)
        await until(pilot, lambda: "检查电源、USB 集线器和线缆" in shown(pilot))
        await until(pilot, lambda: two.look("A1") is Look.PASS)
        await until(pilot, lambda: "取出板子，放入下一块" in shown(pilot))

    with pytest.raises(UnitsFailed):
        two.play(story, (120, 40))
