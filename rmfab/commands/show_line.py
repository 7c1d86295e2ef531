"""Run the line with a view of it: shared by `run`, `flash`, `verify`, `reset`, `ota try` and `demo`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from rmfab.commands import terminal
from rmfab.signals import stopping

if TYPE_CHECKING:
    from rmfab.commands.line_view import View
    from rmfab.language.speech import Speech
    from rmfab.line.events import LineEvent, Summary
    from rmfab.operations.run_line import LineRequest, LineRun
    from rmfab.workspace.workspace import Workspace


def show_line(request: LineRequest) -> None:
    """Run and show the line of the workspace. Raise the error that determines the exit code."""
    from rmfab.commands.language import speech
    from rmfab.operations.run_line import run_line

    workspace = terminal.workspace()
    with labels_unseen(workspace):
        run = run_line(workspace, request, terminal.CommandTerminal(speech().said))
        show_run(run, single=len(run.slots) == 1 and not request.loop)


def labels_unseen(workspace: Workspace) -> AbstractContextManager[None]:
    """Let the terminal not show the labels that a line of *workspace* has scanned: they contain PoPs."""
    return terminal.unseen() if workspace.product.label.scan_back else nullcontext()


def refuse_without_screen(screen: bool, wanted: dict[str, bool]) -> None:
    """Raise UsageError if an option of *wanted* is used without the screen, or the screen where it cannot be shown.

    Raise StationError if the screen is wanted and Textual is not installed.
    """
    from rmfab.errors import UsageError

    for name, used in wanted.items():
        if used and not screen:
            raise UsageError(f"{name} is for the operator's screen", hint=f"add --screen, or leave out {name}")
    if screen and terminal.json_wanted():
        raise UsageError("--screen and --json exclude each other", hint="use --loop --json for a program")
    if screen and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("--screen needs a terminal", hint="run it in a terminal, or use --loop")
    if screen:
        from rmfab.screen.show import refuse_without_textual

        refuse_without_textual()


def show_on_screen(
    workspace: Workspace, request: LineRequest, *, by_hand: bool = False, only_ascii: bool = False, sound: bool = False
) -> None:
    """Run the line of *workspace* on the operator's screen. Raise the error that determines the exit code."""
    from rmfab.commands.language import language
    from rmfab.commands.shift_end import ShiftEnd
    from rmfab.language.speech import Language, speech_in
    from rmfab.operations.run_line import run_line
    from rmfab.screen.screen_terminal import ScreenTerminal
    from rmfab.screen.show import ScreenOptions, show_screen

    request = replace(request, loop=True)
    spoken = Language.ENGLISH if only_ascii else language()
    ours = ScreenTerminal(terminal.CommandTerminal(speech_in(spoken).said))
    run = run_line(workspace, request, ours)
    end = ShiftEnd(speech_in(spoken))
    colours = "NO_COLOR" not in os.environ
    options = ScreenOptions(spoken, only_ascii, sound, by_hand, colours, see=end.note)
    try:
        with _ending_in(speech_in(spoken)):
            show_screen(workspace, run, ours, request, options)
    finally:
        end.show()


@contextmanager
def _ending_in(spoken: Speech) -> Iterator[None]:
    """Say in the operator's language that units failed, or that the line was interrupted; JSON stays English."""
    from rmfab.errors import UnitsFailed

    if terminal.json_wanted():
        yield
        return
    terminal.say_if_interrupted(spoken.tr("interrupted; run the same command again to continue"))
    try:
        yield
    except UnitsFailed as error:
        error.reworded(spoken.said(error.what), error.hint)
        raise


def show_run(run: LineRun, *, single: bool) -> None:
    """Run and show a line that is ready; as `show_events`."""
    slots = tuple(slot.name for slot in run.slots)
    show_events(run.events(), slots, lambda: run.summary, run.stop, single=single, asks=run.asks)


def show_events(
    events: Generator[LineEvent, None, None],
    slots: tuple[str, ...],
    summary: Callable[[], Summary],
    stop: Callable[[], None],
    *,
    single: bool = False,
    asks: bool = False,
) -> None:
    """Show all *events*, then the *summary*. ^C calls *stop*.

    *single*: only one unit is run. *asks*: the operator types meanwhile.
    """
    from rmfab.commands.language import speech
    from rmfab.commands.line_view import make_view
    from rmfab.errors import IntegrityError, StationError

    spoken = speech()
    try:
        view = make_view(terminal.json_wanted(), slots, spoken, single=single, asks=asks)
        with _ending_in(spoken):
            _show(events if single or terminal.json_wanted() else _told_once(events), view, summary, stop)
    except BrokenPipeError:
        terminal.stopped_by_reader()
        raise
    except (StationError, IntegrityError) as error:
        if single and not terminal.json_wanted():  # it stands for the reason of the unit, which the view leaves out
            error.reworded(spoken.meaning(error.cause, error.what), spoken.advice(error.cause, error.hint))
        raise


def _told_once(events: Generator[LineEvent, None, None]) -> Generator[LineEvent, None, None]:
    """Yield *events*. The reason of each unit is shown with it, so the error at the end does not repeat one of them."""
    from rmfab.errors import BatchUsedUp, InputError, StationError
    from rmfab.line.events import UnitEnded

    shown: list[UnitEnded] = []
    try:
        for event in events:
            if isinstance(event, UnitEnded) and event.error is not None:
                shown.append(event)
            yield event
    except (StationError, InputError) as error:
        unit = next((one for one in shown if one.error is error), None)
        if unit is None or isinstance(error, BatchUsedUp):
            raise
        kind = StationError if isinstance(error, StationError) else InputError
        raise kind(f"slot {unit.slot} ended with an error, as shown above", cause=error.cause) from error
    finally:
        events.close()


def _show(
    events: Generator[LineEvent, None, None],
    view: View,
    summary: Callable[[], Summary],
    stop: Callable[[], None],
) -> None:
    try:
        with stopping(stop), closing(events):
            for event in events:
                view.show(event)
    finally:
        view.close(summary())
