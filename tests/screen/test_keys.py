"""Keys and scans at the operator's desk, without a terminal."""

from __future__ import annotations

import threading

import pytest

from rmfab.errors import InputError
from rmfab.language.speech import Language
from rmfab.ledger.events import Outcome
from rmfab.line.events import Step
from rmfab.operations.terminal import Scan
from rmfab.screen.desk import Body, Panel
from rmfab.screen.draw_help import _KEYS, _LOOKS, _SCANS
from rmfab.screen.keys import Keys
from rmfab.screen.screen_terminal import Answers, Question
from rmfab.screen.tile import Look
from tests.patience import PATIENCE
from tests.screen.stage import Stage, empty, ended, failed, service, step

PANEL = Panel(80, 24)


def press(stage: Stage, *keys: str) -> bool:
    """Press *keys*; return whether the screen ends."""
    hand = Keys(stage.desk)
    return [hand.press(key, None, 0.0, PANEL) for key in keys][-1]


def scan(stage: Stage, text: str) -> None:
    """Type *text*, and Enter."""
    hand = Keys(stage.desk)
    for letter in text:
        hand.press(letter, letter, 0.0, PANEL)
    hand.press("enter", None, 0.0, PANEL)


@pytest.fixture
def stage() -> Stage:
    """A stage with a FAIL on A3."""
    stage = Stage()
    stage.show(*failed("A3", serial="LMP-000003"))
    return stage


def test_moving(stage: Stage) -> None:
    """Arrows, Tab, Home and End choose a slot, and stop at the edges."""
    told = []
    for key in ("left", "right", "down", "tab", "end", "tab", "up", "home", "shift+tab"):
        press(stage, key)
        told.append(stage.desk.chosen)
    assert told == ["A1", "A2", "A6", "A7", "A8", "A1", "A1", "A1", "A8"]


def test_pages_turn() -> None:
    """PgDn and PgUp turn the page of a station with more slots than fit."""
    stage = Stage(32)
    press(stage, "pagedown")
    assert stage.desk.chosen == "B1"
    press(stage, "pageup")
    assert stage.desk.chosen == "A1"


@pytest.mark.parametrize("keys", [("f5",), ("space",), ("right", "f5")])
def test_a_key_acknowledges(stage: Stage, keys: tuple[str, ...]) -> None:
    """F5 and the space bar acknowledge the chosen FAIL, or the first one that waits."""
    press(stage, *keys)
    assert stage.hands.orders == [("acknowledge", "A3")]
    assert stage.desk.chosen == "A3"
    press(stage, "f5")
    assert "no unit waits" in stage.text()


@pytest.mark.parametrize("code", ["LMP-000003", "lmp-000003", "]C1LMP-000003", "OK A3", "24:0a:c4:1f:67:7d"])
def test_a_scan_of_the_unit_acknowledges(stage: Stage, code: str) -> None:
    """Scanning the unit that failed acknowledges it, and so does its code OK."""
    scan(stage, code)
    assert stage.hands.orders == [("acknowledge", "A3")]


def test_the_label_of_the_unit_acknowledges(stage: Stage) -> None:
    """A QR payload stands for its unit; one of no unit is not shown."""
    stage.hands.units['{"name":"PROV_1"}'] = "LMP-000003"
    scan(stage, '{"name":"PROV_1"}')
    assert stage.hands.orders == [("acknowledge", "A3")]
    scan(stage, '{"name":"PROV_2","pop":"3dc1e8a4"}')
    assert "this code is no unit" in stage.text((160, 24))
    assert "3dc1e8a4" not in stage.text((160, 24))


def test_a_slots_label_chooses_it(stage: Stage) -> None:
    """Scanning a slot goes there; an unknown name is told."""
    scan(stage, "a7")
    assert (stage.desk.chosen, stage.hands.orders) == ("A7", [])
    scan(stage, "LMP-999999")
    assert "LMP-999999 is no unit or slot" in stage.text()


def test_codes_do_what_keys_do(stage: Stage) -> None:
    """RETRY, START, ABORT and REPRINT work for the chosen slot, or for the one that they name."""
    stage.show(*step("A2", Step.FLASH)[:1], ended("A1"))
    for code in ("RETRY A3", "START", "ABORT A2", "RETRY A2", "REPRINT A1", "ABORT Z9", "BADGE:wei"):
        scan(stage, code)
    assert stage.hands.orders == [
        ("start", "A3"), ("start", "A3"), ("abort", "A2"), ("reprint", "A1", "LMP-000001"), ("enter", "wei"),
    ]  # fmt: skip
    press(stage, "f8", "f6", "f9")
    assert [order[0] for order in stage.hands.orders[5:]] == ["start", "abort", "reprint"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("RETRY A33", "there is no A33 here; did you mean A3?"),
        ("ABORT a22", "did you mean A2?"),
        ("A11", "did you mean A1?"),
        ("LMP-000004", "LMP-000004 is no unit or slot of this station"),
        ("RETRY Z9", "Z9 is no unit or slot of this station"),
        ("A", "A is no unit or slot of this station"),
    ],
)
def test_a_name_that_nothing_here_has(stage: Stage, code: str, told: str) -> None:
    """An unknown name, also after RETRY and ABORT, starts and aborts nothing, and suggests the nearest slot.

    No serial is suggested: those of other units are all near."""
    scan(stage, code)
    foot = stage.text().splitlines()[-2]
    assert told in foot
    assert ("did you mean" in foot) is ("did you mean" in told)
    assert stage.hands.orders == []


def test_one_order_prints_once(stage: Stage) -> None:
    """A key that is held, and a code that the scanner reads twice, print one label; a later order one more."""
    stage.show(ended("A1"), ended("A2", serial="LMP-000002"))
    hand = Keys(stage.desk)
    for now in (10.0, 10.5, 10.53, 10.56, 12.4):
        hand.press("f9", None, now, PANEL)
    hand.press("right", None, 12.5, PANEL)
    hand.press("f9", None, 12.6, PANEL)
    hand.press("left", None, 12.7, PANEL)
    hand.press("f9", None, 20.0, PANEL)
    assert stage.hands.orders == [
        ("reprint", "A1", "LMP-000001"), ("reprint", "A2", "LMP-000002"), ("reprint", "A1", "LMP-000001"),
    ]  # fmt: skip
    assert "LMP-000001: its label is printed again" in stage.text((120, 24))


def test_no_label_without_a_unit(stage: Stage) -> None:
    """A slot that is empty or at work has no unit whose label could be printed, nor has a board without a serial."""
    stage.show(*step("A2", Step.FLASH)[:1], ended("A4"), empty("A4"), ended("A5", Outcome.ERROR, "no-sync", None))
    for slot, told in (("A1", "no unit here"), ("A2", "at work already"), ("A4", "no unit"), ("A5", "no unit")):
        scan(stage, f"REPRINT {slot}")
        assert told in stage.text((120, 24)), slot
    assert stage.hands.orders == []


def test_a_retry_acknowledges(stage: Stage) -> None:
    """Whoever runs a board again has seen that it failed."""
    scan(stage, "RETRY A3")
    assert not stage.desk.wall.waiting_for_operator


def test_a_locked_slot_does_not_start(stage: Stage) -> None:
    """A locked slot is named with its reason."""
    stage.desk.wall.take(service("A1", "worn pin?"), 0.0)
    press(stage, "f8")
    assert stage.hands.orders == []
    assert "A1 is locked: worn pin?" in stage.text()


def test_a_supervisor_unlocks(stage: Stage) -> None:
    """F7 puts the chosen slot into service again, or says that it is not locked."""
    press(stage, "f7")
    assert stage.hands.orders == [("unlock", "A1")]
    assert "A1 is in service again" in stage.text()
    stage.hands.at_work = False
    press(stage, "f7")
    assert "A1 is not locked" in stage.text()


def test_a_disabled_slot_is_not_locked(stage: Stage) -> None:
    """A slot that someone has disabled says that it has to be enabled, which F7 does not do."""
    stage.desk.wall.take(service("A1", "cable is loose", locked=False), 0.0)
    assert ("has to enable" in stage.text(), "has to unlock" in stage.text()) == (True, False)
    press(stage, "f8")
    assert (stage.hands.orders, "A1 is disabled: cable is loose" in stage.text()) == ([], True)
    stage.hands.at_work = False
    press(stage, "f7")
    assert "A1 is disabled, not locked: use `rmfab slot enable A1`" in stage.text()
    stage.desk.wall.take(service("A1", None), 0.0)
    assert not stage.desk.wall.tiles["A1"].disabled


def test_nothing_to_abort(stage: Stage) -> None:
    """Aborting a slot that is not at work is told."""
    stage.hands.at_work = False
    press(stage, "f6")
    assert "A1: no unit is at work" in stage.text()


def test_bodies(stage: Stage) -> None:
    """F1, F2 and F3 show help, slot and numbers, and the same key or Esc goes back."""
    told = []
    for key in ("f1", "f1", "f2", "f3", "escape", "enter"):
        press(stage, key)
        told.append(stage.desk.body)
    assert told == [Body.HELP, Body.WALL, Body.DETAIL, Body.NUMBERS, Body.WALL, Body.DETAIL]
    press(stage, "pagedown", "up", "down")
    assert stage.text()


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_word_of_the_help_is_lost(stage: Stage, language: Language, width: int) -> None:
    """However narrow the terminal is, the help has every word."""
    stage.desk.language = language
    press(stage, "f1")
    page = "".join(stage.text((width, 200)).split())
    for _, what in (*_LOOKS, *_KEYS, *_SCANS):
        for word in stage.desk.speech.tr(what).split():
            assert word in page or width == 40, word
    assert ".." not in page


def test_that_there_is_more_is_said(stage: Stage) -> None:
    """The last row says how many lines are below it; at the end of the page it is one of them."""
    press(stage, "f1")
    whole = [line.rstrip() for line in stage.text((80, 100)).splitlines() if line.strip()]
    rows = [line.rstrip() for line in stage.text((80, 24)).splitlines()]
    hidden = len(whole) - len([row for row in rows if row]) + 1
    assert rows[-3] == f" PgDn: {hidden} more lines"
    press(stage, "pagedown")
    assert not stage.text((80, 24)).splitlines()[-3].startswith(" PgDn: ")
    assert stage.text((80, 24)).splitlines()[-3].rstrip() == whole[-3]


def test_the_language_key(stage: Stage) -> None:
    """F4 switches the language; with --ascii it does not."""
    press(stage, "f4")
    assert stage.desk.language is Language.CHINESE
    assert "不合格 1" in stage.text()
    press(stage, "f4")
    stage.desk.only_ascii = True
    press(stage, "f4")
    assert stage.desk.language is Language.ENGLISH
    assert "--ascii" in stage.text()


def test_the_end(stage: Stage) -> None:
    """The first F10 lets units finish, the second aborts them; the screen ends with the line."""
    stage.show(*step("A2", Step.FLASH)[:1])
    assert not press(stage, "f10")
    assert "ends when 1 units are done" in stage.text((120, 24))
    assert not press(stage, "f10")
    assert stage.hands.orders == [("finish",), ("stop",)]
    assert stage.desk.line_ended(None)


def test_a_line_that_ends_by_itself_is_told(stage: Stage) -> None:
    """A line that ends because of an error stays on the screen until F10 or Enter."""
    assert not stage.desk.line_ended(InputError("batch lamp-0001 is used up"))
    assert "the line has ended: batch lamp-0001 is used up" in stage.text((120, 24))
    assert not press(stage, "f3")
    assert press(stage, "enter")


def test_a_question_by_key(stage: Stage) -> None:
    """A yes-or-no question is answered by y or n, by Enter after it, by Esc as no, and by a scanned YES."""
    answers = []
    for keys in (("y",), ("N",), ("escape",), ("YES", "enter"), ("x", "enter", "backspace", "y", "enter")):
        question = Question("is there a label for LMP-000003?", Answers.YES_OR_NO)
        stage.desk.take(question, 0.0)
        assert "? is there a label for LMP-000003? [y/n]" in stage.text()
        hand = Keys(stage.desk)
        for key in keys:
            for letter in (key,) if key.islower() and len(key) > 1 else key:
                hand.press(letter, letter if len(letter) == 1 else None, 0.0, PANEL)
        hand.rested(1.0, PANEL)
        answers.append(question.wait())
        assert not stage.desk.questions
    assert answers == ["y", "n", "n", "y", "y"]


def test_a_scan_for_the_line(stage: Stage) -> None:
    """While the line waits for a code, a scan is the line's, unless it acknowledges a FAIL."""
    told: list[object] = []
    stage.terminal.shown(lambda _: None)
    reader = threading.Thread(target=lambda: told.append(next(stage.terminal.inputs())), daemon=True)
    reader.start()
    while not stage.terminal.wants_input:
        pass
    scan(stage, "LMP-000003")
    assert stage.hands.orders == [("acknowledge", "A3")]
    scan(stage, "SN79927398713")
    reader.join(PATIENCE)
    assert told == [Scan("SN79927398713")]


def test_the_name_of_a_slot_while_the_line_waits_for_a_code(stage: Stage) -> None:
    """The name of a slot goes to the line, which may wait for that slot's code; and the slot is chosen as ever."""
    stage.terminal.shown(lambda _: None)
    stage.terminal.wants_input = True
    scan(stage, "A5")
    assert (stage.desk.chosen, next(stage.terminal.inputs())) == ("A5", Scan("A5"))


def test_a_scan_without_enter() -> None:
    """A scanner that sends no Enter is understood when it pauses; slow keys wait for Enter."""
    stage = Stage()
    hand = Keys(stage.desk)
    for number, letter in enumerate("A5x"[:2] + "  "):
        hand.press(letter, letter, number * 0.005, PANEL)
    hand.rested(0.05, PANEL)
    assert stage.desk.chosen == "A1"
    hand.rested(1.0, PANEL)
    assert stage.desk.chosen == "A5"
    for number, letter in enumerate("A6xx"):
        hand.press(letter, letter, number * 0.5, PANEL)
    hand.rested(9.0, PANEL)
    assert stage.desk.scan.text == "A6xx"


def test_an_empty_slot_is_not_acknowledged() -> None:
    """A unit that passed and was taken out leaves nothing to acknowledge."""
    stage = Stage()
    stage.show(ended("A1"), empty("A1"))
    press(stage, "f5")
    assert (stage.hands.orders, stage.desk.wall.tiles["A1"].look) == ([], Look.EMPTY)
