"""Run a line under the screen: the line in a thread of its own, the screen in the main thread, signals to both."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rmfab.errors import InputError, RmfabError, StationError, printable
from rmfab.identity.qr import parse_payload
from rmfab.language.speech import Language, marked
from rmfab.ledger.badge import Badge
from rmfab.ledger.events import timestamp
from rmfab.line.events import LineEvent, Step, StepEnded
from rmfab.operations.run_line import LineRequest, LineRun
from rmfab.screen.desk import Desk
from rmfab.screen.draw_bars import Surroundings
from rmfab.screen.own_terminal import own_terminal
from rmfab.screen.screen_terminal import ScreenTerminal
from rmfab.screen.wall import Heading, Wall
from rmfab.signals import stopping
from rmfab.workspace.workspace import Workspace

if TYPE_CHECKING:
    from rmfab.screen.app import LineApp

LOG_NAME = "screen.log"
_LOOK_SECONDS = 2.0
_COLOUR = re.compile(r"\\x1b\[[0-9;]*m|\\r$")
"""The colours and carriage returns of ESP-IDF's log, as the log file has them."""
_TAIL_BYTES, _TAIL_LINES = 64 << 10, 400


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


class LineHands:
    """The hands of the operator on a line that runs."""

    def __init__(self, run: LineRun, badge: Badge) -> None:
        self._run = run
        self._badge = badge
        self._names: dict[str, str] = {}

    def acknowledge(self, slot: str) -> None:
        """See `Hands`."""
        self._run.floor.starts.acknowledge(slot)

    def start(self, slot: str) -> None:
        """See `Hands`."""
        self._run.floor.starts.start(slot)

    def abort(self, slot: str) -> bool:
        """See `Hands`."""
        return self._run.floor.starts.abort(slot)

    def unlock(self, slot: str) -> bool:
        """See `Hands`."""
        book = self._run.floor.job.slots
        named = next(one for one in self._run.slots if one.name == slot)
        return book is not None and book.unlock(named, "unlocked at the operator's screen")

    def reprint(self, slot: str) -> str | None:  # noqa: ARG002 - a reason is asked for where labels are printed again
        """See `Hands`."""
        return marked("print it again with `rmfab label SERIAL --print --reason`")

    @property
    def printer(self) -> str:
        """The state of the printer in a word, empty if the line prints no labels."""
        labels = self._run.floor.job.labels
        if labels is None or labels.queue is None:
            return ""
        return marked("ok") if labels.queue.ready else marked("not ready")

    def finish(self) -> None:
        """See `Hands`."""
        self._run.floor.finish()

    def stop(self) -> None:
        """See `Hands`."""
        self._run.stop()

    def unit_of(self, payload: str) -> str | None:
        """See `Hands`."""
        try:
            return self._names.get(parse_payload(payload).name)
        except InputError:
            return None

    def learn(self, serial: str) -> None:
        """Look up what the label of the unit *serial* calls it. Raise RmfabError if the ledger does not answer."""
        identity = self._run.floor.job.ledger.identity_by_serial(serial)
        if identity is not None:
            self._names[identity.record.service_name] = serial

    def enter(self, operator: str) -> str | None:
        """See `Hands`."""
        try:
            self._badge.pass_to(operator)
        except InputError as error:
            return error.what
        return None

    def console(self, log: str | None) -> tuple[str, ...]:
        """See `Hands`."""
        return console_tail(log)


def console_tail(log: str | None) -> tuple[str, ...]:
    """Return the last lines of the file *log*; none if there is none."""
    if log is None:
        return ()
    try:
        with Path(log).open("rb") as file:
            file.seek(max(0, Path(log).stat().st_size - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ()
    lines = (printable(_COLOUR.sub("", line)).rstrip() for line in text.splitlines()[-_TAIL_LINES:])
    return tuple(line for line in lines if line)


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
    desk = Desk(wall, LineHands(run, workspace.badge), terminal, options.language)
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
    job = run.floor.job
    claimed: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def left() -> int:
        return workspace.inquiry.free(job.product.name, job.batch, ts=timestamp(job.now()))

    threading.Thread(target=_run, args=(app, run, options, claimed), name="line", daemon=True).start()
    if Step.CLAIM in job.steps:
        threading.Thread(target=_look, args=(app, app.desk.hands, left, claimed), name="look", daemon=True).start()


def _run(app: LineApp, run: LineRun, options: ScreenOptions, claimed: queue.SimpleQueue[str | None]) -> None:
    """Run the line to its end, and tell the screen what happens."""
    ending: BaseException | None = None
    try:
        with closing(run.events()) as events:
            for event in events:
                options.see(event)
                app.tell(event)
                if isinstance(event, StepEnded) and event.step is Step.CLAIM and event.serial is not None:
                    claimed.put(event.serial)
    except BaseException as error:  # noqa: BLE001 - raised in the main thread, once the screen is gone
        ending = error
    claimed.put(None)
    app.end(ending)


def _look(app: LineApp, hands: LineHands, left: Callable[[], int], claimed: queue.SimpleQueue[str | None]) -> None:
    """Look at the ledger after each claim, and now and then: what is left, and whether it answers."""
    wanted: list[str] = []
    while True:
        try:
            app.desk.left = left()
            while wanted:
                hands.learn(wanted[-1])
                wanted.pop()
            state = marked("ok")
        except RmfabError:
            state = marked("away")
        printer, around = hands.printer, app.desk.around
        if (state, printer) != (around.ledger, around.printer):
            app.tell(
                replace(
                    around,
                    ledger=state,
                    ledger_well=state == "ok",
                    printer=printer,
                    printer_well=printer != "not ready",
                )
            )
        with suppress(queue.Empty):
            serial = claimed.get(timeout=_LOOK_SECONDS)
            if serial is None:
                return
            wanted.append(serial)


def refuse_without_textual() -> None:
    """Raise StationError if Textual is not installed. It is found without being imported."""
    if find_spec("textual") is None:
        hint = "run `pip install '.[screen]'` in rmfab's checkout"
        raise StationError("the screen needs Textual, which is not installed", hint=hint, cause="no-textual")
