"""Rows of styled text, cut, wrapped and joined by the columns of a terminal: a Chinese letter takes two.

Styles are names; `theme.py` has their colours. Only letters whose width every terminal agrees on are used: ASCII and
CJK. Box-drawing, block and arrow characters are of ambiguous width (Unicode UAX #11): Chinese terminals draw them wide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rmfab.errors import one_line
from rmfab.language import widths
from rmfab.language.breaks import WORD
from rmfab.language.widths import cells, start_of

Piece = tuple[str, str]
Row = tuple[Piece, ...]
"""Pieces of text with the names of their styles."""

_WORD = re.compile(rf"{WORD}|\S|\s+")


def width_of(row: Row) -> int:
    """Return the columns that *row* takes."""
    return sum(cells(text) for text, _ in row)


def cut(text: str, width: int) -> str:
    """Return *text*, which may come from a device, on one line of at most *width* columns."""
    return start_of(one_line(text, 4 * max(width, 1) + 8), width)


def padded(text: str, width: int) -> str:
    """Return *text* on exactly *width* columns."""
    return widths.padded(cut(text, width), width)


def centred(text: str, width: int) -> str:
    """Return *text* in the middle of *width* columns."""
    text = cut(text, width)
    return widths.padded(" " * ((width - cells(text)) // 2) + text, width)


def line(width: int, style: str, left: str, right: str = "") -> Row:
    """Return one row of *width* columns: *left*, cut if it must be, and *right*."""
    right = cut(right, width)
    room = width - cells(right) - (1 if right else 0)
    return ((padded(left, room) + (" " if right else "") + right, style),)


def filled(row: Row, width: int, style: str) -> Row:
    """Return *row* on exactly *width* columns: cut, or with blanks after it."""
    pieces: list[Piece] = []
    left = width
    for text, name in row:
        size = cells(text)
        if size > left:
            pieces.append((widths.padded(start_of(text, left, ""), left), name))
            left = 0
            break
        pieces.append((text, name))
        left -= size
    return (*pieces, (" " * left, style)) if left else tuple(pieces)


def wrapped(text: str, width: int, rows: int) -> list[str]:
    """Return *text* on at most *rows* lines of *width* columns, broken between words; `..` says that it is cut."""
    lines = [""]
    for word in _WORD.findall(one_line(text, 4096)):
        fits = cells(lines[-1] + word.rstrip()) <= width
        if not fits and lines[-1]:
            lines.append("")
        if lines[-1] or not word.isspace():
            lines[-1] += word
    lines = [line.rstrip() for line in lines if line.strip()]
    if len(lines) > rows > 0:
        last = f"{lines[rows - 1]} {lines[rows]}"
        lines = [*lines[: rows - 1], last]
    return [cut(one, width) for one in lines[:rows]]


def beside(columns: Sequence[Sequence[Row]], gap: Piece) -> list[Row]:
    """Return the rows of equally high *columns* next to each other, with *gap* after each."""
    return [tuple(piece for row in rows for piece in (*row, gap)) for rows in zip(*columns, strict=True)]


def plain(rows: Iterable[Row]) -> str:
    """Return the text of *rows*, without styles."""
    return "\n".join("".join(text for text, _ in row).rstrip() for row in rows)
