"""The wall as rows: the tiles of one page, and in one row what every slot shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rmfab.language.speech import Speech
from rmfab.line.shifts import HOST_TIME, LocalTime
from rmfab.screen.block_letters import MARKS
from rmfab.screen.draw_tile import Paper, draw_tile
from rmfab.screen.grid import LEAST_HEIGHT, Grid, grid_for
from rmfab.screen.ink import Row, beside, cut, filled
from rmfab.screen.tile import Tile
from rmfab.screen.wall import Wall


@dataclass(frozen=True)
class Frame:
    """What a body is drawn for: its size, the operator's language, the time now, the chosen slot, the *local* time."""

    width: int
    height: int
    speech: Speech
    now: float
    chosen: str = ""
    local: LocalTime = HOST_TIME

    def time_of(self, ts: str) -> str:
        """Return the ledger time *ts* as a clock on the wall shows it."""
        return f"{self.local.of(datetime.fromisoformat(ts)):%H:%M:%S}"


def wall_grid(count: int, width: int, height: int) -> Grid:
    """Return the layout of *count* tiles. If they need pages, the first row names every slot."""
    grid = grid_for(count, width, height)
    return grid if grid.pages(count) == 1 else grid_for(grid.tiles, width, height - 1)


def page_of(wall: Wall, view: Frame) -> int:
    """Return the page with the chosen slot."""
    slots = list(wall.tiles)
    grid = wall_grid(len(slots), view.width, view.height)
    return slots.index(view.chosen) // grid.tiles if view.chosen in slots else 0


def draw_wall(wall: Wall, view: Frame) -> list[Row]:
    """Return the page with the chosen slot as rows of the view's size."""
    tiles = list(wall.tiles.values())
    grid = wall_grid(len(tiles), view.width, view.height)
    page = page_of(wall, view)
    rows: list[Row] = [] if grid.pages(len(tiles)) == 1 else [_overview(tiles, grid, page, view)]
    shown = list(grid.page(tiles, page))
    for start in range(0, len(shown), grid.columns):
        drawn = [_tile(wall, tile, grid, view) for tile in shown[start : start + grid.columns]]
        rows += [filled(row, view.width, "paper") for row in beside(drawn, (" ", "paper"))]
        rows += [((" " * view.width, "paper"),)] * (grid.height - len(drawn[0]))
    blank = ((" " * view.width, "paper"),)
    return [*rows, *[blank] * (view.height - len(rows))][: view.height]


def _tile(wall: Wall, tile: Tile, grid: Grid, view: Frame) -> list[Row]:
    expected = None if tile.step is None else wall.expected(tile.step)
    gap = int(grid.height > LEAST_HEIGHT + 1)
    paper = Paper(grid.width - 1, grid.height - gap, view.speech, view.now, expected, tile.slot == view.chosen)
    return draw_tile(tile, paper)


def _overview(tiles: list[Tile], grid: Grid, page: int, view: Frame) -> Row:
    """Return one row with every slot's mark, page by page."""
    pieces: list[tuple[str, str]] = []
    for number in range(grid.pages(len(tiles))):
        there = grid.page(tiles, number)
        name = there[0].slot if len(there) == 1 else f"{cut(there[0].slot, 6)}-{cut(there[-1].slot, 6)}"
        pieces.append((f" {name} ", "chosen" if number == page else "bar"))
        pieces += [(MARKS[tile.look][1], f"{tile.look}-text") for tile in there]
    here = f"  {page + 1}/{grid.pages(len(tiles))}"
    return filled((*pieces, (here, "dim")), view.width, "paper")
