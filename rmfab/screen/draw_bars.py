"""The lines above and below the tiles: what is made and how well, the scan field, the last message, the keys."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rmfab.errors import one_line
from rmfab.language.durations import clock
from rmfab.language.speech import Speech, marked
from rmfab.language.widths import cells
from rmfab.ledger.events import Outcome
from rmfab.line.events import Message
from rmfab.report.unit_tally import percent
from rmfab.report.yields import Ratio
from rmfab.screen.ink import Piece, Row, cut, filled, padded, width_of
from rmfab.screen.tile import LOOK_WORDS, Look
from rmfab.screen.wall import Heading

HEAD_ROWS, FOOT_ROWS = 2, 2
_GAP = "  "
_WIDE = 110
_LEAST_FIELD = 4
KEYS = (
    ("F1", marked("help")),
    ("F2", marked("slot")),
    ("F3", marked("numbers")),
    ("F4", marked("language")),
    ("F5", marked("seen")),
    ("F6", marked("abort")),
    ("F8", marked("start")),
    ("F9", marked("reprint")),
    ("F10", marked("end")),
)
_TOTALS = (
    (Outcome.PASS, Look.PASS),
    (Outcome.FAIL, Look.FAIL),
    (Outcome.ERROR, Look.ERROR),
    (Outcome.ABORTED, Look.ABORTED),
)


@dataclass(frozen=True)
class TopNumbers:
    """The numbers of the top line: units *today* by verdict, first-pass yield, and what is *left* in the batch.

    *remembers*: they begin before this run, as far as day and shift do.
    """

    today: Counter[Outcome]
    hour: Ratio
    shift: Ratio
    left: int | None = None
    remembers: bool = True


@dataclass(frozen=True)
class Surroundings:
    """What is around the line: *operator*, the state of *ledger* and *printer* in words, how long the line *runs*.

    *ledger* and *printer* are English words; each with whether it is well. An empty one is not shown.
    """

    operator: str = ""
    ledger: str = ""
    ledger_well: bool = True
    printer: str = ""
    printer_well: bool = True
    runs: float = 0.0


@dataclass(frozen=True)
class FootText:
    """What the foot shows: the *scanned* text so far, a *question* that waits for an answer, the last *message*."""

    scanned: str = ""
    question: str = ""
    message: Message | None = None
    more: int = 0


def draw_head(heading: Heading, numbers: TopNumbers, around: Surroundings, speech: Speech, width: int) -> list[Row]:
    """Return the two rows at the top."""
    tr = speech.tr
    names = [(name, "bar-strong") for name in (heading.product, heading.batch, heading.release) if name]
    left = "" if numbers.left is None else tr("{left} left", left=numbers.left)
    totals: list[Piece] = []
    for outcome, look in _TOTALS:
        count = numbers.today[outcome] + (numbers.today[Outcome.MARGINAL] if look is Look.PASS else 0)
        if count or look in (Look.PASS, Look.FAIL, Look.ERROR):
            totals += [(f" {tr(LOOK_WORDS[look])} {count} ", look.value if count else "bar"), (" ", "bar")]
    room = width - width_of(tuple(totals))
    if width_of((*names, (left, "bar"))) + len(_GAP) * (len(names) + 1) >= room and heading.release:
        names.pop()  # the release does not change in a shift, what is left does
    first = _row([*names, (left, "bar")], totals, width)
    wide = width >= _WIDE
    people = [(tr("station {name}", name=heading.station) if wide else heading.station, "bar-strong")]
    operator = tr("operator {name}", name=around.operator) if wide and around.operator else around.operator
    people.append((operator or tr("no operator"), "bar"))
    people += [
        (f"{tr(label)} {speech.said(tr(state))}", "bar" if well else "warning")
        for label, state, well in (
            (marked("ledger"), around.ledger, around.ledger_well),
            (marked("printer"), around.printer, around.printer_well),
        )
        if state
    ]
    yields: list[Piece] = [(_yields(numbers, speech, wide=wide), "bar"), (_GAP + clock(around.runs) + " ", "bar-dim")]
    return [first, _row(people, yields, width)]


def _yields(numbers: TopNumbers, speech: Speech, *, wide: bool) -> str:
    """Return the first-pass yields; those of this run alone are called so."""
    if not numbers.remembers:
        run = marked("first-pass yield of this run: {shift}") if wide else marked("yield of this run {shift}")
        return speech.tr(run, shift=percent(numbers.shift))
    whole = marked("first-pass yield: last hour {hour}, shift {shift}")
    named = whole if wide else marked("yield 1 h {hour}, shift {shift}")
    return speech.tr(named, hour=percent(numbers.hour), shift=percent(numbers.shift))


def _row(left: list[Piece], right: list[Piece], width: int) -> Row:
    """Return *left* and *right* on one row; what does not fit is left out on the left, from its end."""
    room = width - width_of(tuple(right))
    pieces: list[Piece] = [(" ", "bar")]
    for text, style in left:
        used = width_of(tuple(pieces))
        if text and used + cells(text) + len(_GAP) <= room:
            pieces += [(text, style), (_GAP, "bar")]
        elif text and used < room - 8:
            pieces += [(cut(text, room - used - 1), style), (" ", "bar")]
            break
    gap = max(0, room - width_of(tuple(pieces)))
    return filled((*pieces, (" " * gap, "bar"), *right), width, "bar")


def draw_foot(foot: FootText, speech: Speech, width: int) -> list[Row]:
    """Return the two rows at the foot: scan field and message, or the question; then the keys."""
    return [_question(foot, width) if foot.question else _scan(foot, speech, width), _keys(speech, width)]


def _scan(foot: FootText, speech: Speech, width: int) -> Row:
    label = f" {speech.tr('Scan')} "
    most = min(44, max(16, width // 3)) - cells(label)
    field = foot.scanned[-(most - 1) :] + "_"
    room = min(most, max(_LEAST_FIELD, cells(field)))  # the message has the rest
    message, style = "", "dim"
    if foot.message is not None:
        where = f"{foot.message.slot}: " if foot.message.slot else ""
        message = where + speech.said(one_line(foot.message.text, 400), foot.message.about)
        style = "warning" if foot.message.level == "warning" else "paper"
    left: Row = ((label, "key"), (padded(field, room), "field"), (" ", "paper"))
    return filled((*left, (cut(message, width - width_of(left)), style)), width, "paper")


def _question(foot: FootText, width: int) -> Row:
    more = f" (+{foot.more})" if foot.more else ""
    answer = f" {foot.scanned}_ "
    asked = cut(f" ? {foot.question}{more}", width - cells(answer) - 1)
    return filled(((asked, "question"), (" ", "question"), (answer, "field")), width, "question")


def _keys(speech: Speech, width: int) -> Row:
    pieces: list[Piece] = []
    for key, what in KEYS:
        name = speech.tr(what)
        if width_of(tuple(pieces)) + len(key) + cells(name) + 2 > width:
            break
        pieces += [(key, "key"), (f"{name} ", "bar")]
    return filled(tuple(pieces), width, "bar")
