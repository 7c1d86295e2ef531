"""The table of units: fits the terminal, and is printed while the units are read."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain, islice
from typing import TYPE_CHECKING

from rmfab.commands import terminal
from rmfab.commands.folding import width_of
from rmfab.errors import one_line
from rmfab.language.widths import cells, end_of, padded, start_of

if TYPE_CHECKING:
    from rmfab.line.shifts import LocalTime
    from rmfab.report.units import ListedUnit

_HEAD = ("serial", "state", "verdict", "cause", "slot", "tries", "time")
_LEAST = {"slot": 8, "cause": 12, "serial": 12}
"""What is cut first on a narrow terminal, and to how many columns at least."""
_MEASURED = 500
"""How many units decide how wide the columns are."""
_LONGEST = 64


def print_units(units: Iterable[ListedUnit], local: LocalTime) -> int:
    """Print the table; return how many units there are. Without any, print nothing."""
    rows = (_row(unit, local) for unit in units)
    first = list(islice(rows, _MEASURED))
    if not first:
        return 0
    columns = width_of(sys.stdout)
    widths = _widths([_HEAD, *first], columns)
    count = 0
    terminal.verbatim(_line(_HEAD, widths, columns))
    for row in chain(first, rows):
        terminal.verbatim(_line(row, widths, columns))
        count += 1
    return count


def _row(unit: ListedUnit, local: LocalTime) -> tuple[str, ...]:
    shown = (unit.serial, unit.state, unit.verdict, unit.cause, unit.slot, str(unit.attempts), _time(unit.time, local))
    return tuple("" if text is None else one_line(text, _LONGEST) for text in shown)


def _time(ts: str | None, local: LocalTime) -> str:
    return "" if ts is None else f"{local.of(datetime.fromisoformat(ts)):%m-%d %H:%M}"


def _widths(rows: list[tuple[str, ...]], columns: int | None) -> list[int]:
    """Return the widths of the columns; on a terminal, the long ones are cut until the rows fit."""
    widths = [max(cells(row[at]) for row in rows) for at in range(len(_HEAD))]
    over = 0 if columns is None else sum(widths) + 2 * (len(widths) - 1) - columns
    for name, least in _LEAST.items():
        at = _HEAD.index(name)
        cut = max(0, min(over, widths[at] - least))
        widths[at] -= cut
        over -= cut
    return widths


def _line(row: tuple[str, ...], widths: list[int], columns: int | None) -> str:
    return "  ".join(_padded(row, widths, cut=columns is not None)).rstrip()


def _padded(row: tuple[str, ...], widths: list[int], *, cut: bool) -> Iterator[str]:
    for name, text, width in zip(_HEAD, row, widths, strict=True):
        if cut and cells(text) > width:
            text = end_of(text, width, "~") if name == "slot" else start_of(text, width, "~")
        yield text.rjust(width) if name == "tries" else padded(text, width)
