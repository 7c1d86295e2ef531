"""The pictures of the operator's screen: real runs on virtual boards, drawn by Textual, with a CJK monospace font."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from html import unescape
from pathlib import Path

from textual.pilot import Pilot

from rmfab.errors import RmfabError
from rmfab.language.speech import Language
from rmfab.language.widths import cells
from rmfab.operations.run_line import LineRequest, run_line
from rmfab.operations.terminal import UNATTENDED
from rmfab.product.vocabulary import Chip
from rmfab.screen.app import LineApp
from rmfab.screen.desk import Body
from rmfab.screen.draw_bars import Surroundings
from rmfab.screen.screen_terminal import ScreenTerminal
from rmfab.screen.show import ScreenOptions, finish_app, prepared_app
from rmfab.screen.tile import Look
from rmfab.virtual import BoardHandle, BoardSpec, serve
from rmfab.virtual.faults import FaultCall
from rmfab.workspace.workspace import open_workspace

SMALL, LARGE = (80, 24), (200, 60)
_CELL = 12.2  # px; of a letter in Rich's drawings
FONT = "'Noto Sans Mono CJK SC', 'Sarasa Mono SC', ui-monospace, Menlo, Consolas, monospace"
_SECONDS = 180.0
_SLOW, _SLOWER = 300000, 150000  # bits per second: boards that are still at work when the others are done
_SETTLED = (Look.PASS, Look.FAIL, Look.ERROR)
_FAULTS = {2: "brownout", 12: "panic", 21: "flash-encryption", 27: "small-flash"}
Picture = Callable[[str, LineApp], None]


def specs(count: int, first: int = 0) -> list[BoardSpec]:
    """Return *count* boards, numbered from *first* on: some fail, and every third one is slow."""
    return [
        BoardSpec(
            chip=Chip.ESP32C3,
            index=first + index,
            paced=None if index % 3 != 1 else (_SLOW if index % 2 else _SLOWER),
            faults=(FaultCall.parse(_FAULTS[index]),) if index in _FAULTS else (),
        )
        for index in range(count)
    ]


def station(boards: Iterable[BoardHandle], name: str = "bench-1") -> str:
    """Return station.toml of the station *name* with a slot for each board: A1 to A8, B1 to B8 and so on."""
    slots = "".join(
        f'[[slot]]\nname = "{"ABCD"[number // 8]}{number % 8 + 1}"\nport = "{board.url}"\n'
        f'unit = "{board.provisioning_url}"\n'
        for number, board in enumerate(boards)
    )
    return f'[station]\nname = "{name}"\n{slots}'


def run_screen(root: Path, size: tuple[int, int], story: Callable[[LineApp, Pilot[None]], Awaitable[None]]) -> None:
    """Run the line of the workspace *root* under the screen, and play *story*."""
    workspace = open_workspace(root)
    terminal = ScreenTerminal(UNATTENDED)
    request = LineRequest(release=root / "lamp-1.4.0.rmfab", batch="lamp-0001", loop=True)
    workspace.badge.pass_to("wei")
    app = prepared_app(workspace, run_line(workspace, request, terminal), terminal, request, ScreenOptions())

    async def play() -> None:
        async with app.run_test(size=size) as pilot:
            await story(app, pilot)
            await pilot.press("f10", "f10")
            while app.ended is None:
                await pilot.pause(0.1)
        terminal.ended()

    asyncio.run(asyncio.wait_for(play(), _SECONDS))
    with suppress(RmfabError, KeyboardInterrupt):  # units failed, on purpose
        finish_app(app)


async def at_its_best(app: LineApp, pilot: Pilot[None], count: int) -> None:
    """Wait until *count* units have their verdict, and all slow ones are being flashed."""
    wall = app.desk.wall
    while sum(tile.look in _SETTLED for tile in wall.tiles.values()) < count:
        await pilot.pause(0.05)
    await pilot.pause(0.6)


def svg_of(app: LineApp, title: str) -> str:
    """Return the screen as an SVG that loads nothing from elsewhere."""
    drawn = app.export_screenshot(title=title)
    drawn = re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r"\s*<!--.*?-->", "", drawn)
    drawn = re.sub(r"terminal-\d+", f"rmfab-{title.replace(' ', '-')}", drawn)
    drawn = drawn.replace("        font-variant-east-asian: full-width;\n", "")  # it would widen Latin letters, too
    drawn = re.sub(r'textLength="[\d.]+"( [^>]*)>([^<]*)', _as_wide_as_its_cells, drawn)
    return drawn.replace("Fira Code, monospace", FONT).replace("font-family: arial", "font-family: sans-serif")


def _as_wide_as_its_cells(text: re.Match[str]) -> str:
    """A text of the drawing with its length: Rich counts letters, but a Chinese one has two cells."""
    return f'textLength="{round(cells(unescape(text[2])) * _CELL, 1)}"{text[1]}>{text[2]}'


def eight(root: Path, picture: Picture) -> None:
    """Draw eight slots at 80x24 in both languages, and one of them in detail."""
    with serve(specs(8)) as boards:
        (root / "station.toml").write_text(station(boards), encoding="utf-8")

        async def story(app: LineApp, pilot: Pilot[None]) -> None:
            await at_its_best(app, pilot, 5)
            desk = app.desk
            desk.chosen = "A3"
            await _drawn(pilot)
            picture("screen-en-80x24", app)
            desk.language = Language.CHINESE
            await _drawn(pilot)
            picture("screen-zh-80x24", app)
            desk.language, desk.body = Language.ENGLISH, Body.DETAIL
            await _drawn(pilot)
            picture("screen-slot-80x24", app)

        run_screen(root, SMALL, story)


def thirty_two(root: Path, picture: Picture) -> None:
    """Draw 32 slots at 200x60 in both languages, the numbers, and the first page at 80x24."""
    with serve(specs(32, first=8)) as boards:
        (root / "station.toml").write_text(station(boards, "bench-2"), encoding="utf-8")

        async def story(app: LineApp, pilot: Pilot[None]) -> None:
            await at_its_best(app, pilot, 21)
            desk = app.desk
            desk.around = replace(desk.around, operator="wei") if desk.around.ledger else Surroundings("wei", "ok")
            for name, language, body in (
                ("screen-en-200x60", Language.ENGLISH, Body.WALL),
                ("screen-zh-200x60", Language.CHINESE, Body.WALL),
                ("screen-numbers-200x60", Language.ENGLISH, Body.NUMBERS),
            ):
                desk.language, desk.body = language, body
                await _drawn(pilot)
                picture(name, app)
            desk.language, desk.body = Language.ENGLISH, Body.WALL
            await pilot.resize_terminal(*SMALL)
            await _drawn(pilot)
            picture("screen-pages-80x24", app)

        run_screen(root, LARGE, story)


async def _drawn(pilot: Pilot[None]) -> None:
    await pilot.pause(0.7)
