"""Run a line under the screen: the line in a thread of its own, the screen in the main thread, signals to both."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from rmfab.errors import StationError
from rmfab.language.speech import Language
from rmfab.line.events import LineEvent, Step
from rmfab.operations.run_line import LineRequest, LineRun
from rmfab.report.period import recently
from rmfab.screen.desk import Desk
from rmfab.screen.draw_bars import Surroundings
from rmfab.screen.ledger_look import LedgerLook
from rmfab.screen.line_hands import LineHands
from rmfab.screen.own_terminal import own_terminal
from rmfab.screen.screen_terminal import ScreenTerminal
from rmfab.screen.wall import Heading, Wall
from rmfab.signals import stopping
from rmfab.workspace.workspace import Workspace

if TYPE_CHECKING:
    from rmfab.screen.app import LineApp

LOG_NAME = "screen.log"


@dataclass(frozen=True)
class ScreenOptions:
    """How the screen is shown: its *language*, with ASCII alone, with a bell for each FAIL, starts by hand, colours.

    *see* gets every event of the line, in the line's thread.
    """

    language: Language = Language.ENGLISH
    only_ascii: bool = False
    sound: bool = False
    by_hand: bool = False
    colours: bool = True
    see: Callable[[LineEvent], None] = lambda _: None


def heading_of(run: LineRun, request: LineRequest, station: str) -> Heading:
    """Return the names of the top line, and the steps of a unit."""
    job = run.floor.job
    release = job.firmware.release if job.firmware is not None else None
    version = "" if release is None else release.version
    return Heading(job.product.name, station, job.steps, request.batch or "", version)


def limits_of(run: LineRun) -> Mapping[str, str]:
    """Return the limits of measurements, by their names, in words."""
    verify = run.floor.job.product.verify
    limits = {"boot": f"<= {verify.boot_timeout:g} s"}
    if verify.scan.ssid:
        limits["rssi"] = f">= {verify.scan.fail}, {verify.scan.marginal} dBm"
    return limits


def show_screen(
    workspace: Workspace, run: LineRun, terminal: ScreenTerminal, request: LineRequest, options: ScreenOptions
) -> None:
    """Run the line under the screen. Raise what the line raises, after the screen is gone.

    Raise StationError (cause `no-textual`) if Textual is not installed.
    """
    app = prepared_app(workspace, run, terminal, request, options)

    def stop() -> None:
        run.stop()
        app.leave()

    with own_terminal(workspace.logs_folder / LOG_NAME), stopping(stop):
        app.run(mouse=False)
    terminal.ended()
    run.stop()
    app.desk.hands.close()
    finish_app(app)


def prepared_app(
    workspace: Workspace, run: LineRun, terminal: ScreenTerminal, request: LineRequest, options: ScreenOptions
) -> LineApp:
    """Return the screen of the line, ready to run; the line starts once it is shown."""
    refuse_without_textual()
    from rmfab.screen.app import LineApp

    starts = run.floor.starts
    starts.acknowledged, starts.by_hand = True, options.by_hand
    names = tuple(slot.name for slot in run.slots)
    wall = Wall(heading_of(run, request, workspace.station.name), names, time.monotonic())
    shifts, now = workspace.station.shifts, workspace.now
    desk = Desk(wall, LineHands(run, workspace, terminal), terminal, lambda: recently(now(), shifts), options.language)
    desk.local = shifts.local
    desk.only_ascii, desk.sound, desk.limits = options.only_ascii, options.sound, limits_of(run)
    desk.around = Surroundings(operator=workspace.badge.name or "")
    return LineApp(desk, lambda app: _start(app, workspace, run, terminal, options), colours=options.colours)


def finish_app(app: LineApp) -> None:
    """Raise the bug that has ended the screen, else what the line has ended with."""
    if app.bug is not None:
        raise app.bug
    if app.ended is not None and app.ended.error is not None:
        raise app.ended.error


def _start(app: LineApp, workspace: Workspace, run: LineRun, terminal: ScreenTerminal, options: ScreenOptions) -> None:
    """Start the line, and the look at the ledger, in threads of their own."""
    terminal.shown(app.tell)
    look = LedgerLook(app, run, workspace)
    threading.Thread(target=_run, args=(app, run, options, look), name="line", daemon=True).start()
    if Step.CLAIM in run.floor.job.steps:
        threading.Thread(target=look.run, name="look", daemon=True).start()


def _run(app: LineApp, run: LineRun, options: ScreenOptions, look: LedgerLook) -> None:
    """Run the line to its end, and tell the screen what happens."""
    ending: BaseException | None = None
    try:
        with closing(run.events()) as events:
            for event in events:
                options.see(event)
                app.tell(event)
                look.note(event)
    except BaseException as error:  # noqa: BLE001 - raised in the main thread, once the screen is gone
        ending = error
    look.end()
    app.end(ending)


def refuse_without_textual() -> None:
    """Raise StationError if Textual is not installed. It is found without being imported."""
    if find_spec("textual") is None:
        hint = "run `pip install '.[screen]'` in rmfab's checkout"
        raise StationError("the screen needs Textual, which is not installed", hint=hint, cause="no-textual")
