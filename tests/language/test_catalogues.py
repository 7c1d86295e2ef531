"""The Chinese catalogues: complete, in agreement with the code, and read as other programs read them."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.pofile import read_po as read_by_babel

import rmfab
from rmfab.causes import Cause
from rmfab.language.line_texts import LABEL_WORDS, LINE_TEXTS, STEP_WORDS
from rmfab.language.po_file import read_po
from rmfab.language.speech import Language, catalogues, speech_in
from rmfab.line.events import LabelState, Step

ROOT = Path(rmfab.__file__).parent
SCREEN, CAUSES = catalogues(Language.CHINESE)
_CALLS = ("tr", "marked", "note")


def marked_texts() -> Iterator[str]:
    """Yield every text that the code translates."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in _CALLS and isinstance(node.args[0].value, str):
                    yield node.args[0].value
    yield from (*LINE_TEXTS, *STEP_WORDS, *LABEL_WORDS)


def fields(text: str) -> set[str]:
    """Return the names of the placeholders in *text*."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_every_text_of_the_screen_is_translated() -> None:
    """The screen and the line have no text that is untranslated or fuzzy, and the catalogue has no other."""
    translated = {text for _, text in read_po(SCREEN.read_text(encoding="utf-8"))}
    assert (set(marked_texts()) - translated, translated - set(marked_texts())) == (set(), set())


def test_the_words_of_the_line() -> None:
    """Each step of rmfab, and each state of a label, has its word."""
    assert tuple(step.value for step in Step) == STEP_WORDS
    assert tuple(state.value for state in LabelState) == LABEL_WORDS


def test_every_cause_is_translated() -> None:
    """Each cause has its meaning and its remedy in Chinese."""
    translated = {text for _, text in read_po(CAUSES.read_text(encoding="utf-8"))}
    assert {cause.value for cause in Cause if not {cause.meaning, cause.remedy} <= translated} == set()


def test_no_translation_of_a_sentence_that_is_gone() -> None:
    """The catalogue of causes contains only what the table of causes says now."""
    known = {sentence for cause in Cause for sentence in (cause.meaning, cause.remedy)}
    assert {text for _, text in read_po(CAUSES.read_text(encoding="utf-8"))} - known == set()


@pytest.mark.parametrize("path", [SCREEN, CAUSES], ids=lambda path: path.name)
def test_placeholders_agree(path: Path) -> None:
    """A translation has the placeholders of its text, and the commands and keys in it."""
    wrong = {}
    for (_, text), told in read_po(path.read_text(encoding="utf-8")).items():
        if path == SCREEN and fields(text) != fields(told):
            wrong[text] = told
        quoted = re.findall(r"`[^`]+`|\bF\d+\b|--[a-z-]+", text)
        if any(one not in told for one in quoted):
            wrong[text] = told
    assert wrong == {}


@pytest.mark.parametrize("path", [SCREEN, CAUSES], ids=lambda path: path.name)
def test_babel_reads_the_same(path: Path) -> None:
    """Babel finds the entries that our reader finds, none of them fuzzy, in a catalogue for zh_CN."""
    with path.open("rb") as file:
        catalogue = read_by_babel(file)
    theirs = {("", str(one.id)): str(one.string) for one in catalogue if one.id and one.string and not one.fuzzy}
    assert theirs == read_po(path.read_text(encoding="utf-8"))
    assert (str(catalogue.locale), len(catalogue)) == ("zh_Hans_CN", len(theirs))


def test_a_fuzzy_or_empty_entry_is_not_used() -> None:
    """What its translator was not sure of stays English; escapes and continued lines are read."""
    text = '#, fuzzy\nmsgid "a"\nmsgstr "A"\n\nmsgid "b"\nmsgstr ""\n\n'
    text += 'msgctxt "x"\nmsgid ""\n"c\\n"\n"\\"d\\""\nmsgstr "C"\n'
    assert read_po(text) == {("x", 'c\n"d"'): "C"}


@pytest.mark.parametrize("text", LINE_TEXTS)
def test_messages_of_the_line_are_in_its_code(text: str) -> None:
    """The line still says each of the messages that are translated: its fixed parts are in the code."""
    code = "".join(
        path.read_text(encoding="utf-8")
        for room in ("line", "ledger", "operations")
        for path in (ROOT / room).rglob("*.py")
    )
    code = re.sub(r'"\s*\n\s*f?"', "", code)
    parts = [part.strip(" ;:()") for part in re.split(r"\{\w+\}", text)]
    assert all(part in code for part in parts), parts


def test_no_letter_of_ambiguous_width() -> None:
    """No Chinese text has a letter that terminals draw one or two columns wide, apart from quotation marks."""
    import unicodedata

    entries = read_po(SCREEN.read_text(encoding="utf-8")) | read_po(CAUSES.read_text(encoding="utf-8"))
    doubtful = {letter for told in entries.values() for letter in told if unicodedata.east_asian_width(letter) == "A"}
    assert doubtful == set()


def test_speech() -> None:
    """Both languages tell causes, remedies and messages of the line; what has no translation is English."""
    chinese, english = speech_in(Language.CHINESE), speech_in(Language.ENGLISH)
    assert chinese.remedy("brownout") == "检查电源、USB 集线器和线缆。"
    assert english.remedy("brownout") == "Check the power supply, the USB hub and the cable."
    assert (chinese.remedy("no-such-cause"), chinese.remedy(None)) == ("", "")
    assert chinese.meaning("brownout", "the supply dropped") == "产品运行时电源电压跌落（欠压复位）。"
    assert english.meaning("brownout", "the supply dropped") == "the supply dropped"
    assert chinese.meaning("no-such-cause", "it is broken") == "it is broken"
    over = "current is 95, outside 10 to 80 mA"
    assert chinese.meaning("out-of-limits", over) == f"{chinese.summary('out-of-limits').rstrip('。')}：{over}"
    assert (english.summary("out-of-limits", over), english.summary("brownout", over)) == (over, Cause.BROWNOUT.meaning)
    assert chinese.said("insert a board") == "请放入板子"
    assert chinese.said("12 identities left in batch lamp-0001") == "批次 lamp-0001 剩余 12 个身份"
    assert chinese.said("locked: 3 in a row; this slot starts no board") == "已锁定：3 in a row；此工位不启动板子"
    fault = f"locked: {Cause.SLOT_FAULT.clause}; this slot starts no board"
    assert chinese.said(fault) == f"已锁定：{chinese.summary('slot-fault').rstrip('。')}；此工位不启动板子"
    used_up = "batch lamp-0001 is used up; 9 units: 7 passed, 1 failed, 1 without a verdict"
    assert chinese.said(used_up) == "批次 lamp-0001 已用完；共 9 件：7 合格、1 不合格、1 无结论"
    asked = "is there a whole label for LMP-000003? y/n, or scan it"
    assert chinese.said(asked) == "LMP-000003 的标签是否已完整打印？y 是/n 否，或扫描该标签"
    assert chinese.said("something new") == "something new"
    told = "另一个程序正在使用该端口。关闭另一个 rmfab、串口监视器或 ModemManager。"
    assert chinese.said("the port is busy; close it", "port-busy") == told
    assert english.said("the port is busy; close it", "port-busy") == "the port is busy; close it"
    assert english.said("insert a board") == "insert a board"
