"""How the tiles of a station are laid out on a screen: all at once if each gets room for its verdict, else on pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

LEAST_WIDTH, LEAST_HEIGHT = 20, 9
"""The smallest tile: FAIL in blocks is 15 columns wide and five rows high, and there are three rows of text."""
_MOST_COLUMNS = 8

T = TypeVar("T")


@dataclass(frozen=True)
class Grid:
    """*columns* by *rows* tiles on a page, each *width* by *height*; the gap after a tile is part of its width."""

    columns: int
    rows: int
    width: int
    height: int

    @property
    def tiles(self) -> int:
        """How many tiles a page has."""
        return self.columns * self.rows

    def pages(self, count: int) -> int:
        """Return how many pages *count* tiles take."""
        return max(1, -(-count // self.tiles))

    def page(self, items: Sequence[T], number: int) -> Sequence[T]:
        """Return the items on page *number*, counted from 0."""
        return items[number * self.tiles : (number + 1) * self.tiles]


def grid_for(count: int, width: int, height: int) -> Grid:
    """Return the layout of *count* tiles on *width* by *height* cells: the one with the largest tiles if all fit."""
    fitting = [one for one in _grids(count, width, height) if one.width >= LEAST_WIDTH and one.height >= LEAST_HEIGHT]
    if fitting:
        return max(fitting, key=lambda one: (min(one.width, 2 * one.height), -one.tiles))
    columns, rows = max(1, width // LEAST_WIDTH), max(1, height // LEAST_HEIGHT)
    return Grid(columns, rows, width // columns, height // rows)


def _grids(count: int, width: int, height: int) -> list[Grid]:
    return [
        Grid(columns, rows, width // columns, height // rows)
        for columns in range(1, min(count, _MOST_COLUMNS) + 1)
        for rows in (-(-count // columns),)
    ]
