"""The help of the screen: marks, keys and codes."""

from __future__ import annotations

from rmfab.language.speech import marked
from rmfab.screen.block_letters import MARKS
from rmfab.screen.draw_wall import Frame
from rmfab.screen.ink import Row, filled, padded, wrapped
from rmfab.screen.tile import LOOK_WORDS, Look

_LOOKS = (
    (Look.PASS, marked("good: take the board out")),
    (Look.FAIL, marked("bad: acknowledge it with F5 or scan it, then set the board aside")),
    (Look.ERROR, marked("not the board: fix port, cable or fixture, then insert the same board again")),
    (Look.ABORTED, marked("stopped: run it again")),
    (Look.SEEN, marked("finished before: nothing was done to it")),
    (Look.LOCKED, marked("do not use this slot before a supervisor has unlocked it")),
)
_KEYS = (
    ("F1", marked("this page")),
    ("F2 Enter", marked("the chosen slot: measurements, console, attempts")),
    ("F3", marked("the last units, the causes of failures, the slots side by side")),
    ("F4", marked("the other language")),
    ("F5", marked("acknowledge the FAIL of the chosen slot")),
    ("F6", marked("abort the unit on the chosen slot")),
    ("F7", marked("for a supervisor: unlock the chosen slot")),
    ("F8", marked("start the chosen slot, or run its board again")),
    ("F9", marked("print the label of the chosen slot again")),
    ("F10", marked("end: twice if units are at work; they are aborted")),
    ("arrows, Tab", marked("choose a slot")),
    ("PgUp PgDn", marked("turn the page")),
    ("Esc", marked("back to the slots, or empty the scan field")),
)
_SCANS = (
    (marked("a serial or a label"), marked("chooses its slot, and acknowledges its FAIL")),
    (marked("the name of a slot"), marked("chooses the slot")),
    ("BADGE:NAME", marked("who works here from now on")),
    ("START RETRY ABORT OK", marked("as F8, F8, F6, F5, for the chosen slot or for one: RETRY A3")),
    ("REPRINT YES NO", marked("as F9, and the answers to a question")),
)


def draw_help(view: Frame) -> list[Row]:
    """Return the page as rows."""
    tr = view.speech.tr
    rows: list[Row] = []
    for look, what in _LOOKS:
        word = padded(f" {MARKS[look]} {tr(LOOK_WORDS[look])}", 17)
        rows += _lines((word, look.value), tr(what), view, 17)
    rows += [_line(padded(key, 17), "strong", tr(what), view) for key, what in _KEYS]
    rows += [_line(padded(tr(scan), 21), "strong", tr(what), view) for scan, what in _SCANS]
    return rows


def _line(name: str, style: str, what: str, view: Frame) -> Row:
    return filled(((" ", "paper"), (name, style), (f" {what}", "paper")), view.width, "paper")


def _lines(name: tuple[str, str], what: str, view: Frame, indent: int) -> list[Row]:
    texts = wrapped(what, view.width - indent - 3, 2)[:1]
    return [filled(((" ", "paper"), name, (f"  {text}", "paper")), view.width, "paper") for text in texts]
