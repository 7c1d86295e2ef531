"""The columns of a terminal that texts take: a Chinese letter takes two. Pure."""

from __future__ import annotations

from collections.abc import Iterable

_CUT = ".."


def cells(text: str) -> int:
    """Return the columns that *text* takes."""
    if text.isascii():  # most texts: rich takes longer to import than they take to print
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def start_of(text: str, width: int, mark: str = _CUT) -> str:
    """Return *text* on at most *width* columns; *mark* at its end shows that it is cut."""
    if cells(text) <= width:
        return text
    mark = mark[: max(0, width)]
    return text[: _fitting(text, width - len(mark))] + mark


def end_of(text: str, width: int, mark: str = "") -> str:
    """Return the end of *text* on at most *width* columns, after *mark* if it is cut: the ends of ports differ."""
    if cells(text) <= width:
        return text
    mark = mark[: max(0, width)]
    return mark + text[len(text) - _fitting(reversed(text), width - len(mark)) :]


def padded(text: str, width: int) -> str:
    """Return *text* with blanks after it, on at least *width* columns."""
    return text + " " * (width - cells(text))


def _fitting(letters: Iterable[str], room: int) -> int:
    """Return how many of the first *letters* fit into *room* columns."""
    count = 0
    for letter in letters:
        room -= cells(letter)
        if room < 0:
            break
        count += 1
    return count
