"""Run the line with a view of it: shared by `run`, `flash`, `verify`, `reset` and `demo`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rmfab.commands import terminal
from rmfab.signals import stopping

if TYPE_CHECKING:
    from rmfab.commands.line_view import View
    from rmfab.line.events import LineEvent, Summary
    from rmfab.operations.run_line import LineRequest


def show_line(request: LineRequest, junit: Path | None = None) -> None:
    """Run and show the line of the workspace. Raise the error that determines the exit code."""
    from rmfab.operations.run_line import run_line
    from rmfab.workspace.workspace import open_workspace

    run = run_line(open_workspace(terminal.folder()), request, terminal.TERMINAL)
    slots = tuple(slot.name for slot in run.slots)
    single = len(slots) == 1 and not request.loop
    show_events(run.events(), slots, lambda: run.summary, run.stop, junit, single=single)


def show_events(
    events: Generator[LineEvent, None, None],
    slots: tuple[str, ...],
    summary: Callable[[], Summary],
    stop: Callable[[], None],
    junit: Path | None = None,
    *,
    single: bool = False,
) -> None:
    """Show all *events*, then the *summary*; also write the report *junit*, if given. ^C calls *stop*.

    *single*: only one unit is run.
    """
    from rmfab.commands.line_view import make_view

    try:
        _show(events, make_view(terminal.json_wanted(), slots, single=single), summary, stop, junit)
    except BrokenPipeError:
        terminal.stopped_by_reader()
        raise


def _show(
    events: Generator[LineEvent, None, None],
    view: View,
    summary: Callable[[], Summary],
    stop: Callable[[], None],
    junit: Path | None,
) -> None:
    from rmfab.report.junit import LineReport

    report = LineReport()
    try:
        with stopping(stop), closing(events):
            for event in events:
                view.show(event)
                report.take(event)
    finally:
        view.close(summary())
        if junit is not None:
            report.write(junit)
