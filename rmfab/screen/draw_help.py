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
    ("F2, Enter", marked("the chosen slot: measurements, console, attempts")),
    ("F3", marked("the last units, the causes of failures, the slots side by side")),
    ("F4", marked("the other language")),
    ("F5", marked("acknowledge the FAIL of the chosen slot")),
    ("F6", marked("abort the unit on the chosen slot")),
    ("F7", marked("for a supervisor: unlock the chosen slot")),
    ("F8", marked("start the chosen slot, or run its board again")),
    ("F9", marked("print the label of the chosen slot again")),
    ("F10", marked("end: twice if units are at work; they are aborted")),
    (marked("arrows, Tab"), marked("choose a slot")),
    ("PgUp, PgDn", marked("turn the page")),
    ("Esc", marked("back to the slots, or empty the scan field")),
)
_SCANS = (
    (marked("a serial or a label"), marked("chooses its slot, and acknowledges its FAIL")),
    (marked("the name of a slot"), marked("chooses the slot")),
    ("BADGE:NAME", marked("who works here from now on")),
    ("START RETRY ABORT OK", marked("as F8, F8, F6, F5, for the chosen slot or for one: RETRY A3")),
    ("REPRINT YES NO", marked("as F9, and the answers to a question")),
)


_MOST_LINES = 4


def draw_help(view: Frame) -> list[Row]:
    """Return the page as rows."""
    tr = view.speech.tr
    rows: list[Row] = []
    for look, what in _LOOKS:
        rows += _lines(f" {MARKS[look]} {tr(LOOK_WORDS[look])}", 18, look.value, tr(what), view)
    for key, what in _KEYS:
        rows += _lines(tr(key), 17, "strong", tr(what), view)
    for scan, what in _SCANS:
        rows += _lines(tr(scan), 21, "strong", tr(what), view)
    return rows


def _lines(name: str, size: int, style: str, what: str, view: Frame) -> list[Row]:
    """Return what *name* means, in as many rows as it needs, beside a column of *size* in which *name* stands."""
    texts = wrapped(what, view.width - size - 2, _MOST_LINES)
    names = [name, *[""] * (len(texts) - 1)]
    return [
        filled(((" ", "paper"), (padded(before, size), style), (f" {text}", "paper")), view.width, "paper")
        for before, text in zip(names, texts, strict=True)
    ]
