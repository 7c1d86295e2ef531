"""Drawings: whole rows at every size, in both languages, with letters whose width is certain."""

from __future__ import annotations

import unicodedata
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from rmfab.language.speech import Language
from rmfab.ledger.events import Outcome
from rmfab.line.events import SlotHeld, Step, StepEnded, StepStarted
from rmfab.line.shifts import LocalTime
from rmfab.report.unit_tally import UnitVerdict
from rmfab.screen.block_letters import SHAPES, drawn_verdict
from rmfab.screen.desk import Body, Panel
from rmfab.screen.draw_detail import measured
from rmfab.screen.grid import LEAST_HEIGHT, LEAST_WIDTH, grid_for
from rmfab.screen.ink import cut, padded, plain, width_of, wrapped
from rmfab.screen.theme import COLOURS, NO_COLOURS
from rmfab.screen.tile import LOOK_WORDS, Look
from rmfab.screen.wall import Past
from tests.commands.test_line_view import HOSTILE
from tests.screen.stage import LARGE, SMALL, Stage, at, empty, ended, failed, message, progress, service, step

SIZES = [SMALL, LARGE, (100, 30), (40, 12), (20, 6), (132, 43)]


def full_stage(count: int, language: Language, hostile: str = "") -> Stage:
    """Return a stage with every look on it."""
    stage = Stage(count, language)
    names = list(stage.desk.wall.tiles)
    for number, slot in enumerate(names):
        serial = f"LMP-{number:06}"
        match number % 8:
            case 0:
                stage.show(*step(slot, Step.FLASH, serial=serial), ended(slot, serial=serial))
            case 1:
                stage.show(*failed(slot, serial=serial + hostile))
            case 2:
                stage.show(*step(slot, Step.DETECT, serial=serial), *step(slot, Step.FLASH)[:1], progress(slot, 40))
            case 3:
                stage.show(ended(slot, Outcome.ERROR, "no-answer", serial), message(slot, f"x{hostile}", "warning"))
            case 4:
                stage.show(empty(slot), SlotHeld(*at(slot, None)))
            case 5:
                stage.desk.wall.take(service(slot, f"3 units failed in a row {hostile}"), 0.0)
            case 6:
                stage.show(*failed(slot, "no-such-cause"), empty(slot))
    return stage


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("count", [1, 3, 8, 20, 32])
def test_rows_fill_the_screen(count: int, size: tuple[int, int], language: Language) -> None:
    """At every size, each row is exactly as wide as the screen, there are as many as it is high, all styles exist."""
    stage = full_stage(count, language)
    for body in Body:
        stage.desk.body = body
        rows = stage.desk.rows(Panel(*size), 9.0)
        assert [width_of(row) for row in rows] == [size[0]] * len(rows)
        assert len(rows) == max(size[1], 5)
        assert {style for row in rows for _, style in row} <= COLOURS.keys() & NO_COLOURS.keys()


@pytest.mark.parametrize("language", Language)
def test_letters_of_certain_width(language: Language) -> None:
    """No letter on the screen is of ambiguous width, and English needs ASCII alone."""
    stage = full_stage(32, language)
    for body in Body:
        stage.desk.body = body
        text = stage.text(LARGE)
        doubtful = {letter for letter in text if unicodedata.east_asian_width(letter) == "A"}
        assert doubtful == set()
        assert language is not Language.ENGLISH or text.isascii()


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text(hostile: str) -> None:
    """What a device says reaches the screen as text only."""
    stage = full_stage(8, Language.ENGLISH, hostile)
    stage.hands.log = (hostile, f"x {hostile}")
    for body in Body:
        stage.desk.body = body
        stage.desk.chosen = "A2"
        rows = stage.desk.rows(Panel(*SMALL), 9.0)
        assert all(letter.isprintable() for row in rows for text, _ in row for letter in text), body
        assert {width_of(row) for row in rows} == {80}


def test_each_verdict_is_a_word_a_shape_and_a_colour() -> None:
    """Verdicts differ in their words, in their shapes and in their colours."""
    verdicts = [Look.PASS, Look.FAIL, Look.ERROR, Look.ABORTED, Look.SEEN, Look.LOCKED]
    assert len({LOOK_WORDS[look] for look in verdicts}) == len(verdicts)
    assert len({SHAPES[look] for look in verdicts}) == len(verdicts)
    assert len({COLOURS[look].bgcolor for look in verdicts}) == len(verdicts)
    for look in verdicts:
        assert drawn_verdict(look, LOOK_WORDS[look], 60, 10) is not None


def test_a_chinese_verdict() -> None:
    """In Chinese, the operator's word stands below the blocks."""
    stage = full_stage(8, Language.CHINESE)
    text = stage.text(SMALL)
    assert "合 格" in text
    assert "不 合 格" in text
    assert "###" in text


@pytest.mark.parametrize(
    ("count", "size", "tiles"),
    [(8, (80, 20), 8), (32, (200, 56), 32), (32, (80, 20), 8), (1, (80, 20), 1), (4, (80, 20), 4), (16, (80, 20), 8)],
)
def test_grid(count: int, size: tuple[int, int], tiles: int) -> None:
    """All slots are on one page if each gets a tile that can be read; else a page has as many as that."""
    grid = grid_for(count, *size)
    assert grid.tiles >= tiles
    assert (grid.width >= LEAST_WIDTH, grid.height >= LEAST_HEIGHT) == (True, True)
    assert len(grid.page(range(count), 0)) == min(count, grid.tiles)


def test_pages() -> None:
    """On several pages, the first row shows every slot's mark, and the page is that of the chosen slot."""
    stage = full_stage(32, Language.ENGLISH)
    assert "A1-A8 vX>!:#X " in stage.text()
    assert "1/4" in stage.text()
    stage.desk.chosen = "C3"
    assert ">C3" in stage.text()
    assert "3/4" in stage.text()


def test_text_in_wide_letters() -> None:
    """Chinese is cut and broken between letters, never inside one, and no line starts with a comma."""
    assert (cut("合格不合格", 7), padded("合格", 5)) == ("合格..", "合格 ")
    lines = wrapped("检查电源、USB 集线器和线缆。", 9, 5)
    assert not any(line[0] in "、。" for line in lines if line)
    assert wrapped("one two three four", 8, 2) == ["one two", "three .."]
    assert wrapped("one two", 8, 2) == ["one two"]


def test_a_step_of_the_product() -> None:
    """A step that product.toml names is shown by its name: at work, when it failed, and in the detail view."""
    stage, own = Stage(2), Step.named("burn-in")
    stage.show(StepStarted(*at("A1"), own))
    assert " burn-in" in stage.text()
    stage.show(StepEnded(*at("A1"), own, Outcome.FAIL, "step-failed", "too hot", 1.0, {}))
    stage.show(ended("A1", Outcome.FAIL, "step-failed"))
    assert "burn-in: " in stage.text()
    stage.desk.body = Body.DETAIL
    assert "  burn-in   FAIL" in stage.text(LARGE)


def test_the_detail_of_a_slot() -> None:
    """The detail view has measurements with limits, reason and remedy, the console's end, and the attempts."""
    stage = full_stage(8, Language.ENGLISH)
    stage.desk.limits = {"rssi": ">= -80 dBm"}
    stage.desk.body, stage.desk.chosen = Body.DETAIL, "A2"
    text = stage.text(LARGE)
    for part in ("rssi -61 [>= -80 dBm]", "it said brownout", "Check the power supply", "PoP ********", "attempts"):
        assert part in text
    assert plain(stage.desk.rows(Panel(*SMALL), 1.0))


def test_times_are_those_of_the_station() -> None:
    """The last units and the attempts have the time of the station's clock, not that of the ledger."""
    stage = Stage()
    stage.desk.local = LocalTime(ZoneInfo("Asia/Shanghai"))
    stage.show(*failed("A1"))
    for body in (Body.NUMBERS, Body.DETAIL):
        stage.desk.body = body
        assert "18:11:12" in stage.text(LARGE)


def test_the_numbers_start_anew() -> None:
    """Until the ledger has told of the past, the yield is called that of this run; at midnight all begins again, but a
    unit that had its first pass yesterday has none today."""
    stage = Stage()
    stage.show(*failed("A1"))
    assert "yield of this run 0.0 %" in stage.text()
    yesterday = UnitVerdict("2025-12-30T12:00:00.000Z", "LMP-000001", "A1", Outcome.PASS, True, None, None, None, 1.0)
    stage.desk.take(Past((yesterday,), whole=True), 1.0)
    assert ("FAIL 1 " in stage.text(), "yield 1 h -, shift -" in stage.text()) == (True, True)
    stage.moment += timedelta(days=1)
    assert ("FAIL 0 " in stage.text(), stage.desk.wall.tally.recent[0].unit) == (True, "LMP-000001")


@pytest.mark.parametrize("count", [8, 16])
def test_a_cause_can_be_read_at_80_columns(count: int) -> None:
    """On a small tile, the cause has two rows: one row holds little more than the name of the step."""
    stage = Stage(count)
    stage.show(*failed("A2"))
    stage.desk.chosen = "A1"
    assert ("boot: The supply" in stage.text(), "voltage" in stage.text()) == (True, True)


def test_why_a_slot_is_locked_can_be_read_at_80_columns() -> None:
    """A verdict that is too long for blocks leaves its rows to the reason."""
    stage = Stage(8)
    stage.desk.wall.take(service("A2", "3 boards in a row ended with FAIL (panic): a worn pin?"), 0.0)
    text = stage.text()
    assert ("(panic): a worn" in text, "a supervisor has" in text) == (True, True)


def test_the_foot_says_what_is_wrong_on_the_chosen_slot() -> None:
    """News give way to the cause and the remedy of the chosen slot; what was left in the batch then is not news."""
    stage = Stage(8)
    stage.show(*failed("A1"), message("A2", "59 identities left in batch lamp-0001"))
    assert "A2: 59 identities left in batch lamp-0001" in stage.text(now=2.0)
    assert "A1: boot: The supply voltage drops while the unit runs" in stage.text(now=18.0)
    stage.desk.chosen = "A3"
    assert "59 identities" not in stage.text(now=18.0).splitlines()[-2]


def test_a_request_stays_at_the_foot() -> None:
    """While the line waits for an answer or a scan, what it has asked stays: its slot may be on a different page."""
    stage = Stage(8)
    stage.show(*failed("A1"), message("A2", "Is the lamp white? p = pass, f = fail"))
    stage.terminal.wants_input = True
    assert [stage.text(now=now).count("Is the lamp white? p = pass") for now in (2.0, 600.0)] == [1, 1]


def test_the_foot_has_room_for_a_message() -> None:
    """An empty scan field leaves its columns to the message, and takes them back when something is typed."""
    stage = Stage(8)
    stage.desk.note("no [printer] in station.toml: use `rmfab label LMP-000001 -o FILE`")
    assert "use `rmfab label LMP-000001 -o FILE`" in stage.text()
    stage.desk.scan.text = "LMP-0000"
    assert " LMP-0000_ " in stage.text()


def test_the_head_keeps_what_is_left() -> None:
    """If the numbers of the day leave no room, the release goes, not what is left in the batch."""
    stage = Stage(8)
    stage.desk.left = 17
    assert ("1.4.0" in stage.text(), "17 left" in stage.text()) == (True, True)
    stage.show(*(ended(f"A{number}", Outcome.ABORTED, serial=f"LMP-{number:06}") for number in range(1, 9)))
    head = stage.text((72, 24)).splitlines()[0]
    assert ("ABORTED 8" in head, "17 left" in head, "1.4.0" in head) == (True, True, False)


def test_the_detail_of_a_slot_in_chinese() -> None:
    """Verdicts of steps are in the operator's language, and what a step did not do is not told."""
    stage = full_stage(8, Language.CHINESE)
    stage.desk.body, stage.desk.chosen = Body.DETAIL, "A2"
    text = stage.text(LARGE)
    assert ("不合格" in text, "FAIL" in text, "PASS" in text) == (True, False, False)
    assert measured({"again": False, "restored": True, "kept": 0}, {}, 80) == "restored, kept 0"


def test_a_short_text_leaves_the_band_its_edge() -> None:
    """Below the letters of a verdict is a row of its colour, unless its text needs the row."""
    stage = Stage(8)
    stage.show(ended("A1"), message("A1", "remove the board and insert the next one"), *failed("A2"))
    rows = stage.text().splitlines()
    assert ("remove" in rows[9], "boot: The supply" in rows[8]) == (True, True)
