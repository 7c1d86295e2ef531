"""Lines that fit a terminal: broken between their fields, else between words or Chinese letters, never inside one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rmfab.language.breaks import LATIN, WORD
from rmfab.language.widths import cells

Style = TypeVar("Style")

HANG = 4
"""Columns by which the rest of a broken line is indented."""

_WORD = re.compile(rf"`[^`\n]*`{LATIN}|{WORD}|\S")
"""A command in backquotes is one word: so it can be copied."""
_FIELD_GAP = 2  # spaces between two fields of a line; words have one


def width_of(stream: object) -> int | None:
    """Return the columns of the terminal that *stream* writes to, None if it is no terminal.

    COLUMNS is stronger than the terminal's own answer, as in every shell.
    """
    try:
        if not stream.isatty():  # type: ignore[attr-defined]  # any stream, also a test's
            return None
        given = os.environ.get("COLUMNS", "")
        columns = int(given) if given.isdigit() else os.get_terminal_size(stream.fileno()).columns  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return None
    return columns or None


def fold(text: str, width: int | None) -> str:
    """Return *text* with line feeds where a line is wider than *width* columns; None is any width."""
    return "".join(part for part, _ in fold_pieces([(text, None)], width))


def fold_pieces(pieces: Sequence[tuple[str, Style]], width: int | None) -> list[tuple[str, Style]]:
    """Return the *pieces* of a text, each with its style, with line feeds as in `fold`."""
    text = "".join(part for part, _ in pieces)
    if width is None or all(cells(line) <= width for line in text.split("\n")):
        return list(pieces)
    gaps = list(_gaps(text, width))
    folded = []
    start = 0
    for part, style in pieces:
        folded.append((_without(text, start, start + len(part), gaps), style))
        start += len(part)
    return folded


def _without(text: str, start: int, end: int, gaps: Iterable[tuple[int, int, int]]) -> str:
    """Return text[start:end] with each of its gaps (start, end, indentation) replaced by a line feed."""
    kept = []
    at = start
    for gap, after, indent in gaps:
        if after <= start or gap >= end:
            continue
        kept.append(text[at : max(at, gap)])
        if gap >= start:
            kept.append("\n" + " " * indent)
        at = min(after, end)
    return "".join([*kept, text[at:end]])


def _gaps(text: str, width: int) -> Iterator[tuple[int, int, int]]:
    """Yield the gaps of *text* to break at: where each starts and ends, and the indentation of what follows."""
    start = 0
    for line in text.split("\n"):
        words = [match.span() for match in _WORD.finditer(line)]
        indent = min(words[0][0] + HANG if words else 0, width // 2)
        for gap, after in _breaks(line, words, width, indent):
            yield start + gap, start + after, indent
        start += len(line) + 1


def _breaks(line: str, words: Sequence[tuple[int, int]], width: int, indent: int) -> Iterator[tuple[int, int]]:
    """Yield the gaps of one *line*. A field that fits on a line of its own is not broken."""
    begin, offset = 0, 0  # of the line that is being filled: where it starts in *line*, and its indentation
    for number, (start, end) in enumerate(words):
        if number == 0:
            continue
        gap = words[number - 1][1]
        is_field = start - gap >= _FIELD_GAP
        whole = _end_of_field(words, number) if is_field else end
        whole = whole if indent + cells(line[start:whole]) <= width else end
        if offset + cells(line[begin:whole]) > width:
            yield gap, start
            begin, offset = start, indent


def _end_of_field(words: Sequence[tuple[int, int]], number: int) -> int:
    """Return the end of the field that starts with word *number*."""
    while number + 1 < len(words) and words[number + 1][0] - words[number][1] < _FIELD_GAP:
        number += 1
    return words[number][1]
