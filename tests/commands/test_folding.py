"""Output that fits a terminal of 80 columns, and progress bars that leave the terminal before anything is printed."""

from __future__ import annotations

import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.commands import terminal as output
from rmfab.commands.folding import cells, fold, fold_pieces
from tests.terminal import Terminal, dialogue

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("short", ["short"]),
        ("", [""]),
        ("one two three four five six", ["one two three four", "    five six"]),
        ("aa  bb cc  dd ee ff  g", ["aa  bb cc  dd ee ff", "    g"]),
        ("aaaa  bbbb cccc  dddd ee", ["aaaa  bbbb cccc", "    dddd ee"]),
        ("  x  a-word-that-is-wider-than-it", ["  x", "      a-word-that-is-wider-than-it"]),
        ("run it with `rmfab -C ws status`, or", ["run it with", "    `rmfab -C ws status`,", "    or"]),
        ("one\ntwo", ["one", "two"]),
        ("漢字漢字 漢字漢字 漢字漢字", ["漢字漢字 漢字漢字 漢", "    字漢字"]),
    ],
)
def test_fold(text: str, lines: list[str]) -> None:
    """A line is broken between its fields, else between words; a command and a wide word stay whole."""
    assert fold(text, 20).split("\n") == lines
    assert fold(text, None) == text


LINES = st.lists(st.text(st.sampled_from("ab1 `"), max_size=60), max_size=3).map("\n".join)


@given(LINES, st.integers(10, 80), st.lists(st.integers(0, 180), max_size=5))
def test_nothing_is_lost(text: str, width: int, cuts: list[int]) -> None:
    """The words are the same ones, in the same order, however the text is cut into styled pieces."""
    folded = fold(text, width)
    assert folded.split() == text.split()
    for line in folded.split("\n"):
        assert len(line) <= width or " " not in line.strip().replace("` ", "").strip("`") or "`" in line
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [(text[start:end], str(start)) for start, end in pairwise(edges)]
    assert "".join(part for part, _ in fold_pieces(pieces, width)) == folded


def shown(screen: str) -> list[str]:
    """Return the lines that stay on the terminal; what a carriage return or an erased line overwrites is left out."""
    return [_ESCAPE.sub("", line).rstrip("\r").rpartition("\r")[2] for line in screen.split("\n")]


def widest(screen: str) -> str:
    """Return the widest line that stays on the terminal."""
    return max(shown(screen), key=len)


@pytest.mark.slow
def test_eighty_columns(tmp_path: Path) -> None:
    """What `demo`, `status`, `trace` and `doctor` print fits 80 columns, without a word or a date broken."""
    code, screen = dialogue("demo", "--units", "2", "--dir", "d", cwd=tmp_path, answers=[], COLUMNS="80")
    assert code == 0, screen
    assert len(widest(screen)) <= 80, widest(screen)
    for argv in (("status",), ("trace", "LMP-000001"), ("doctor",), ("trust", "list")):
        code, screen = dialogue("-C", "d", *argv, cwd=tmp_path, answers=[], COLUMNS="80")
        assert code in (0, 4), screen
        assert len(widest(screen)) <= 80 or " " not in widest(screen).strip(), widest(screen)
        if argv[0] == "trace":
            assert len(re.findall(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z  ", screen, re.MULTILINE)) > 9
        if argv[0] == "status":
            assert "product Demo Lamp" in screen


def test_a_pipe_is_not_folded(terminal: Terminal, lamp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not a terminal gets whole lines, whatever COLUMNS says."""
    monkeypatch.setenv("COLUMNS", "20")
    head, row = terminal.well("-C", lamp, "status").splitlines()
    assert head.split()[-1] == "labelled"
    assert row.startswith("lamp-0001")


def test_a_table_that_is_too_wide(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A table gets narrower gaps first, and then is a list of cells with their heads."""
    head, rows = ("name", "kind", "count"), [("one", "small box", 1), ("two", "", 22)]
    for width, lines in (
        (40, ["name  kind       count", "one   small box      1", "two                 22"]),
        (20, ["name kind      count", "one  small box     1", "two               22"]),
        (19, ["one  kind small box", "    count 1", "two  count 22"]),
    ):
        monkeypatch.setattr(output, "width_of", lambda _, width=width: width)
        output.table(head, rows)
        assert capsys.readouterr().out.splitlines() == lines


def test_the_bar_goes_first(lamp: Path, tmp_path: Path) -> None:
    """Whatever is printed while a bar is shown begins on a line of its own."""
    code, screen = dialogue("-C", lamp, "generate", "--count", "600", "--jobs", "1", cwd=tmp_path, answers=[])
    assert code == 0, screen
    assert "━" in screen, "the bar was shown"
    assert any(line.startswith("rmfab: batch lamp-0002: 600 identities made") for line in shown(screen))
    assert shown(screen)[-2:] == ["lamp-0002", ""]


@pytest.mark.parametrize("name", ["say", "warn", "data", "speak", "verbatim", "document", "json_line"])
def test_everything_takes_the_bar_off(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way to print takes a live display off the terminal before it prints."""
    done: list[str] = []
    monkeypatch.setattr(output, "_undraw", lambda: done.append("undrawn"))
    monkeypatch.setattr(sys.stdout, "write", done.append)
    monkeypatch.setattr(sys.stderr, "write", done.append)
    getattr(output, name)("text")
    assert done[0] == "undrawn"


def test_chinese_is_broken_between_letters() -> None:
    """Chinese has no blanks: it is broken between letters, its punctuation stays with them, and no line is too wide."""
    text = (
        "    启动: 产品运行时电源电压跌落\uff08欠压复位\uff09\u3002检查 USB 集线器\uff0c和线缆\uff1b"
        "见 `rmfab trace LMP-000001`\u3002"
    )
    for width in range(36, 120):
        lines = fold(text, width).split("\n")
        assert all(cells(line) <= width for line in lines)
        assert not any(line.lstrip().startswith(tuple("\uff0c\u3002\uff1b\uff09")) for line in lines)
        assert not any(line.endswith("\uff08") for line in lines)
        assert "".join("".join(lines).split()) == "".join(text.split())
        assert "`rmfab trace LMP-000001`" in "\n".join(lines)
