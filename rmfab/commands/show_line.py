"""Run the line with a view of it: shared by `run`, `flash`, `verify`, `reset`, `ota try` and `demo`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rmfab.commands import terminal
from rmfab.signals import stopping

if TYPE_CHECKING:
    from rmfab.commands.line_view import View
    from rmfab.line.events import LineEvent, Summary
    from rmfab.operations.run_line import LineRequest, LineRun
    from rmfab.report.junit import LineReport


def show_line(request: LineRequest, junit: Path | None = None) -> None:
    """Run and show the line of the workspace. Raise the error that determines the exit code."""
    from rmfab.operations.run_line import run_line

    workspace = terminal.workspace()
    with terminal.unseen() if workspace.product.label.scan_back else nullcontext():
        run = run_line(workspace, request, terminal.TERMINAL)
        show_run(run, junit, single=len(run.slots) == 1 and not request.loop, asks=run.asks)


def show_run(run: LineRun, junit: Path | None = None, *, single: bool, asks: bool = False) -> None:
    """Run and show a line that is ready; as `show_events`."""
    slots = tuple(slot.name for slot in run.slots)
    show_events(run.events(), slots, lambda: run.summary, run.stop, junit, single=single, asks=asks)


def show_events(
    events: Generator[LineEvent, None, None],
    slots: tuple[str, ...],
    summary: Callable[[], Summary],
    stop: Callable[[], None],
    junit: Path | None = None,
    *,
    single: bool = False,
    asks: bool = False,
) -> None:
    """Show all *events*, then the *summary*; also write the report *junit*, if given. ^C calls *stop*.

    *single*: only one unit is run. *asks*: the operator types meanwhile.
    """
    from rmfab.commands.line_view import make_view

    try:
        view = make_view(terminal.json_wanted(), slots, single=single, asks=asks)
        _show(events if single or terminal.json_wanted() else _told_once(events), view, summary, stop, junit)
    except BrokenPipeError:
        terminal.stopped_by_reader()
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
    junit: Path | None,
) -> None:
    report = _report(junit)
    try:
        with stopping(stop), closing(events):
            for event in events:
                view.show(event)
                if report is not None:
                    report.take(event)
    finally:
        view.close(summary())
        if report is not None and junit is not None:
            report.write(junit)


def _report(junit: Path | None) -> LineReport | None:
    if junit is None:
        return None
    from rmfab.report.junit import LineReport

    return LineReport()
