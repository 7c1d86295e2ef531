"""One tile as rows: name and unit, the verdict to be read from two metres, and what to know and to do there."""

from __future__ import annotations

from dataclasses import dataclass

from rmfab.language.durations import clock
from rmfab.language.speech import Speech, marked
from rmfab.language.widths import cells, end_of
from rmfab.line.events import Step
from rmfab.screen.block_letters import BLOCK, MARKS, drawn_verdict
from rmfab.screen.ink import Row, centred, line, padded, wrapped
from rmfab.screen.tile import LOOK_WORDS, Look, Tile, Visited

_VERDICT_ROWS, _WORD_ROWS = 5, 3
_BAR_ENDS = 2
_SMALL_HEIGHT = 10
"""Up to this height, the foot alone names the key that acknowledges."""


@dataclass(frozen=True)
class Paper:
    """The room for a tile, the operator's language, the time now, and how long a step is expected to take."""

    width: int
    height: int
    speech: Speech
    now: float
    expected: float | None = None
    chosen: bool = False


def draw_tile(tile: Tile, paper: Paper) -> list[Row]:
    """Return *tile* as rows of the paper's width, as many as it is high."""
    look = tile.look
    if tile.step is not None and look is Look.WORKING:
        body = _working(tile, tile.step, paper)
        ground = "working"
    elif look in (Look.EMPTY, Look.HELD):
        body, ground = _empty(tile, paper), "empty" if look is Look.EMPTY else "held"
    else:
        body, ground = _verdict(tile, paper), "card"
    blank = ((" " * paper.width, ground),)
    rows = [_head(tile, paper), *body]
    return [*rows[: paper.height], *[blank] * (paper.height - len(rows))]


def _head(tile: Tile, paper: Paper) -> Row:
    style = "chosen" if paper.chosen else "bar-strong"
    mark = MARKS[tile.look]
    name = f"{'>' if paper.chosen else ' '}{tile.slot}"
    unit = tile.unit
    room = paper.width - len(mark) - 2
    if cells(name) + 1 + cells(unit) > room:  # the ends of ports and of serials are what differs
        name = end_of(name, room // 2, name[0])
        unit = end_of(unit, room - cells(name) - 1)
    return line(paper.width, style, f"{name} {unit}", f"{mark} ")


def _working(tile: Tile, at_work: Step, paper: Paper) -> list[Row]:
    """Return step i of n with its progress and the seconds, taken and expected."""
    width, tr = paper.width, paper.speech.tr
    step, taken = tr(at_work.value), paper.now - tile.since
    part = tile.part
    if part is None and paper.expected:
        part = min(0.99, taken / paper.expected)
    of = f"{tile.number}/{tile.steps}"
    said = clock(taken) if paper.expected is None or paper.expected < 1 else tr(
        "{taken} of ~{expected}", taken=clock(taken), expected=clock(paper.expected)
    )  # fmt: skip
    blank = ((" " * width, "working"),)
    rows: list[Row] = [line(width, "working", f" {step}", f"{of} "), bar(part or 0.0, width, "working")]
    rows.append(line(width, "working", f" {said}", f"{int(100 * part)}% " if part is not None else ""))
    note = wrapped(paper.speech.said(*tile.note), width - 2, max(0, paper.height - 6)) if tile.note.text else []
    total = line(width, "working", f" {tr('whole unit')}", f"{clock(paper.now - tile.began)} ")
    room = paper.height - 1 - len(rows) - len(note) - 1
    above = [blank] * min(2, max(0, room // 2))
    return [*above, *rows, *[((f" {padded(text, width - 1)}", "working"),) for text in note], *_if(room > 0, total)]


def bar(part: float, width: int, style: str) -> Row:
    """Return a bar of which *part* is done, with a blank at each end."""
    cells = max(1, width - _BAR_ENDS)
    done = round(cells * min(1.0, max(0.0, part)))
    return ((" ", style), (BLOCK * done, "done"), ("-" * (cells - done), "to-do"), (" " * (width - cells - 1), style))


def _empty(tile: Tile, paper: Paper) -> list[Row]:
    width, tr = paper.width, paper.speech.tr
    style = "empty" if tile.look is Look.EMPTY else "held"
    word = tr(LOOK_WORDS[tile.look])
    if tile.look is Look.HELD:
        said = tr("press F8 or scan START to start this board")
    else:
        said = paper.speech.said(*tile.note) if tile.note.text else paper.speech.said("insert a board")
    notes = wrapped(said, width - 2, max(1, paper.height - 3))
    above = max(0, (paper.height - 2 - len(notes)) // 2)
    blank = ((" " * width, style),)
    return [*[blank] * above, ((centred(word, width), style),), *[((centred(text, width), style),) for text in notes],
            *[blank] * (paper.height - 2 - above - len(notes))]  # fmt: skip


def _verdict(tile: Tile, paper: Paper) -> list[Row]:
    """Return the band with shape and word, and what to know and to do below it."""
    look, width = tile.look, paper.width
    texts = _texts(tile, paper.speech, roomy=paper.height > _SMALL_HEIGHT)
    band = _band_height(paper, look, sum(len(wrapped(text, width - 2, paper.height)) for text, _ in texts))
    rows = draw_band(look, paper.speech, width, band)
    room = paper.height - 1 - len(rows)
    return [*rows, *_told(texts, width, room)]


def _band_height(paper: Paper, look: Look, lines: int) -> int:
    """Return the rows of the band over texts of *lines*, which get the row below the letters if they need it."""
    height, word = paper.height, LOOK_WORDS[look]
    if height < _VERDICT_ROWS + 2:
        return max(1, height - 3)
    if not lines:
        return height - 2
    translated = int(paper.speech.tr(word) != word)
    drawn = drawn_verdict(look, word, paper.width, _VERDICT_ROWS) is not None
    least = _VERDICT_ROWS + translated if drawn else _WORD_ROWS
    least += int(height - 1 - least > lines)
    return max(least, min(height - 6, (height * 3) // 5))


def what_is_wrong(tile: Tile, speech: Speech) -> list[tuple[str, str]]:
    """Return why a slot is locked, or why its last unit did not pass, and what to do about it, each with its style."""
    if tile.locked is not None:
        way_back = marked("a supervisor has to unlock this slot")
        if tile.disabled:
            way_back = marked("a supervisor has to enable this slot")
        return [(speech.said(tile.locked), "card-strong"), (speech.tr(way_back), "card")]
    if tile.last is None or tile.look is not tile.last.look:
        return []
    return _cause_and_remedy(tile.last, speech)


def _texts(tile: Tile, speech: Speech, *, roomy: bool) -> list[tuple[str, str]]:
    """Return what is told of a verdict, each with its style: what to do first, cause, remedy."""
    told: list[tuple[str, str]] = []
    if tile.locked is not None or tile.last is None:
        return what_is_wrong(tile, speech)
    if tile.held and tile.wants_acknowledgement:
        told.append((speech.tr("the next board waits: acknowledge with F5 first"), "card-strong"))
    elif tile.gone and tile.wants_acknowledgement:
        told.append((speech.tr("taken out: acknowledge with F5"), "card-strong"))
    elif tile.wants_acknowledgement and roomy:
        told.append((speech.tr("F5: seen, board set aside"), "card-strong"))
    told += what_is_wrong(tile, speech)
    if not told and tile.note.text:
        told.append((speech.said(*tile.note), "card-dim"))
    return told


def _cause_and_remedy(visited: Visited, speech: Speech) -> list[tuple[str, str]]:
    """Return what was wrong with a unit, with its step, and what to do about it, each with its style."""
    ended = visited.ended
    close = visited.marginal if visited.look is Look.MARGINAL else None
    cause, reason = (ended.cause, ended.reason) if close is None else (close.cause, close.reason)
    if not cause and not reason:
        return []
    step = close or next((step for step in reversed(visited.steps) if step.cause == cause), None)
    where = f"{speech.tr(step.step.value)}: " if step is not None else ""
    told = [(f"{where}{speech.summary(cause, reason)}", "card")]
    return [*told, (f"> {remedy}", "card-strong")] if (remedy := speech.remedy(cause)) else told


def _told(texts: list[tuple[str, str]], width: int, room: int) -> list[Row]:
    """Return *texts* on *room* rows: each gets at least one, and the earlier ones more if there are more."""
    rows: list[Row] = []
    for number, (text, style) in enumerate(texts):
        after = len(texts) - number - 1
        left = room - len(rows)
        share = max(1, min(-(-left // (after + 1)), left - after))
        rows += [((f" {padded(one, width - 1)}", style),) for one in wrapped(text, width - 2, share)]
    blank = ((" " * width, "card"),)
    return [*rows[:room], *[blank] * (room - len(rows))]


def draw_band(look: Look, speech: Speech, width: int, height: int) -> list[Row]:
    """Return the verdict on its colour: in blocks as large as they fit, else as a word with its mark."""
    word, said = LOOK_WORDS[look], speech.tr(LOOK_WORDS[look])
    translated = int(said != word)
    spaced = " ".join(said) if 2 * cells(said) + 6 <= width else said
    drawing = drawn_verdict(look, word, width, height - translated)
    if drawing is None:
        middle: list[Row] = [((centred(f"{MARKS[look]} {spaced}", width), look.value),)]
    else:
        middle = [_blocks(row, look, width) for row in drawing]
        middle += [((centred(spaced, width), look.value),)] * translated
    blank = ((" " * width, look.value),)
    above = (height - len(middle)) // 2
    return [*[blank] * above, *middle, *[blank] * (height - above - len(middle))]


def _blocks(drawn: str, look: Look, width: int) -> Row:
    """Return one row of a drawing, in the middle of *width* columns."""
    before = (width - len(drawn)) // 2
    pieces: list[tuple[str, str]] = [(" " * before, look.value)]
    for block in drawn:
        style = f"{look}-block" if block == BLOCK else look.value
        letter = BLOCK if block == BLOCK else " "
        if pieces[-1][1] == style:
            pieces[-1] = (pieces[-1][0] + letter, style)
        else:
            pieces.append((letter, style))
    return (*pieces, (" " * (width - before - len(drawn)), look.value))


def _if(wanted: bool, row: Row) -> list[Row]:
    return [row] if wanted else []
