"""The screen on a terminal in memory, by Textual's pilot: keys, scans, boards, faults, locks, languages."""

from __future__ import annotations

import asyncio
import threading

import pytest
from textual.pilot import Pilot

from rmfab.errors import InputError
from rmfab.language.speech import Language
from rmfab.ledger.events import Outcome
from rmfab.line.events import Step
from rmfab.screen.app import LineApp, RowsWidget
from rmfab.screen.tile import Look
from tests.patience import PATIENCE
from tests.screen.stage import (
    LARGE,
    SMALL,
    Stage,
    empty,
    ended,
    failed,
    progress,
    scanned,
    service,
    shown,
    step,
    until,
)


def look(stage: Stage, slot: str) -> Look:
    """Return how the tile of *slot* looks."""
    return stage.desk.wall.tiles[slot].look


@pytest.mark.slow
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "200x60"])
def test_a_shift(size: tuple[int, int]) -> None:
    """Boards come, pass, fail and go; a key and a scan acknowledge; a lock and the other language are shown."""
    stage = Stage(8)

    async def story(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, LineApp)
        for event in (*step("A1", Step.DETECT), *step("A1", Step.FLASH)[:1], progress("A1", 50)):
            app.tell(event)
        await until(pilot, lambda: "50%" in shown(pilot))
        for event in (ended("A1"), *failed("A2", serial="LMP-000002"), *failed("A3", serial="LMP-000003")):
            app.tell(event)
        await until(pilot, lambda: "FAIL 2" in shown(pilot))
        app.tell(empty("A1"))
        app.tell(empty("A2"))
        await until(pilot, lambda: look(stage, "A1") is Look.EMPTY)
        assert look(stage, "A2") is Look.FAIL
        await pilot.press("f5")
        assert (look(stage, "A2"), look(stage, "A3")) == (Look.EMPTY, Look.FAIL)
        await scanned(pilot, "LMP-000003")
        assert stage.hands.orders == [("acknowledge", "A2"), ("acknowledge", "A3")]
        stage.desk.wall.take(service("A8", "worn pin?"), 0.0)
        await until(pilot, lambda: "worn pin?" in shown(pilot))
        await pilot.press("f4")
        await until(pilot, lambda: "不合格 2" in shown(pilot))
        assert "需由主管解锁" in shown(pilot)
        await pilot.press("f3")
        await until(pilot, lambda: "最近的产品" in shown(pilot))

    stage.play(story, size)


def test_a_question_of_the_line() -> None:
    """A thread of the line asks, the operator answers, and the scan field is there again."""
    stage = Stage()
    answers: list[bool] = []

    async def story(pilot: Pilot[None]) -> None:
        asks = threading.Thread(target=lambda: answers.append(stage.terminal.confirm("is there a label?")))
        asks.start()
        await until(pilot, lambda: "? is there a label? [y/n]" in shown(pilot))
        await pilot.press("y")
        await until(pilot, lambda: answers)
        await until(pilot, lambda: "Scan" in shown(pilot))
        asks.join()

    stage.play(story)
    assert answers == [True]


def test_the_end_of_the_screen_answers_questions() -> None:
    """A question that is open when the screen ends raises an error in the thread that waits for it."""
    stage = Stage()
    told: list[InputError] = []

    def ask() -> None:
        try:
            stage.terminal.ask("SSID of the factory network")
        except InputError as error:
            told.append(error)

    async def story(pilot: Pilot[None]) -> None:
        threading.Thread(target=ask, daemon=True).start()
        await until(pilot, lambda: "? SSID" in shown(pilot))

    stage.play(story)

    async def wait() -> None:
        while not told:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(wait(), PATIENCE))
    assert told[0].cause == "no-terminal"


def test_a_pasted_scan() -> None:
    """A scan that a terminal hands over as a paste is a scan."""
    stage = Stage()
    stage.show(*failed("A3", serial="LMP-000003"))

    async def story(pilot: Pilot[None]) -> None:
        from textual import events

        pilot.app.post_message(events.Paste("LMP-000003\n"))
        await until(pilot, lambda: stage.hands.orders)

    stage.play(story)
    assert stage.hands.orders == [("acknowledge", "A3")]


def test_a_bug_ends_the_screen_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """A bug is kept for the command, and Textual prints no values of variables."""
    stage = Stage()

    async def story(pilot: Pilot[None]) -> None:
        def broken(*_: object) -> None:
            secret = "3dc1e8a4"
            raise ZeroDivisionError(len(secret))

        stage.desk.take = broken  # type: ignore[method-assign]
        assert isinstance(pilot.app, LineApp)
        pilot.app.tell(ended("A1"))
        await pilot.pause()

    with pytest.raises(ZeroDivisionError):
        stage.play(story)
    assert "3dc1e8a4" not in "".join(capsys.readouterr())


def test_what_ends_the_screen() -> None:
    """F10 ends a screen without work together with its line; ^C does the same."""
    for key in ("f10", "ctrl+c"):
        stage = Stage()

        async def story(pilot: Pilot[None], key: str = key) -> None:
            app = pilot.app
            assert isinstance(app, LineApp)
            await pilot.press(key)
            app.end(None)
            await until(pilot, lambda: not app.is_running)

        stage.play(story)
        assert stage.hands.orders == [("finish",)]


def test_only_changed_rows_are_drawn() -> None:
    """A tick redraws the rows that have changed, not the whole screen."""
    stage = Stage(32)

    async def story(pilot: Pilot[None]) -> None:
        drawn: list[int] = []
        sheet = pilot.app.query_one(RowsWidget)
        refresh = sheet.refresh

        def counting(*regions: object, **more: object) -> object:
            drawn.append(len(regions))
            return refresh(*regions, **more)  # type: ignore[arg-type]

        sheet.refresh = counting  # type: ignore[method-assign,assignment]
        assert isinstance(pilot.app, LineApp)
        pilot.app.tell(ended("A1", Outcome.PASS))
        await until(pilot, lambda: drawn)
        assert all(0 < count <= 20 for count in drawn), drawn

    stage.play(story, LARGE)


def test_language_of_the_start() -> None:
    """A screen that starts in Chinese is Chinese in all its parts."""
    stage = Stage(8, Language.CHINESE)

    async def story(pilot: Pilot[None]) -> None:
        for part in ("工站 bench-1" if pilot.app.size.width > 110 else "bench-1", "请放入板子", "扫码", "帮助"):
            assert part in shown(pilot)

    stage.play(story)
