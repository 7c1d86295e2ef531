"""The look at the ledger beside a line that runs: what is left, whether it answers, and what it has of the past.

Everything is asked in a thread of its own: a ledger that is slow, or away, holds up neither the line nor the screen.
"""

from __future__ import annotations

import queue
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from rmfab.errors import RmfabError
from rmfab.language.speech import marked
from rmfab.ledger.events import timestamp
from rmfab.line.events import LineEvent, Step, StepEnded
from rmfab.operations.line_run import LineRun
from rmfab.operations.past_verdicts import past_verdicts, verdicts_of_unit
from rmfab.report.period import recently
from rmfab.screen.wall import Past
from rmfab.workspace.workspace import Workspace

if TYPE_CHECKING:
    from rmfab.screen.app import LineApp

_LOOK_SECONDS = 2.0


class LedgerLook:
    """The look at the ledger of *run*, for *app*. Make it before the line starts: the past ends then."""

    def __init__(self, app: LineApp, run: LineRun, workspace: Workspace) -> None:
        self._app = app
        self._run = run
        self._workspace = workspace
        self._began = workspace.now()
        self._claims: queue.SimpleQueue[StepEnded | None] = queue.SimpleQueue()
        self._wanted: list[StepEnded] = []
        self._remembers = False

    def note(self, event: LineEvent) -> None:
        """Look at the unit of *event*, if it is a claim."""
        if isinstance(event, StepEnded) and event.step is Step.CLAIM and event.serial is not None:
            self._claims.put(event)

    def end(self) -> None:
        """Look no more."""
        self._claims.put(None)

    def run(self) -> None:
        """Look at the ledger now, after each claim, and now and then, until `end`."""
        while True:
            try:
                self._look()
                state = marked("ok")
            except RmfabError:
                state = marked("away")
            self._tell(state)
            with suppress(queue.Empty):
                claim = self._claims.get(timeout=_LOOK_SECONDS)
                if claim is None:
                    return
                self._wanted.append(claim)

    def _look(self) -> None:
        """Look once. Raise RmfabError if the ledger does not answer."""
        desk, job = self._app.desk, self._run.floor.job
        desk.left = self._workspace.inquiry.free(job.product.name, job.batch, ts=timestamp(job.now()))
        if not self._remembers:
            since = recently(self._began, self._workspace.station.shifts).longest
            told = past_verdicts(job.ledger, job.station, since, timestamp(self._began))
            self._app.tell(Past(told, whole=True))
            self._remembers = True
        while self._wanted:
            claim = self._wanted[-1]
            serial = claim.serial or ""
            desk.hands.learn(serial)
            if claim.measurements.get("again"):
                told = verdicts_of_unit(job.ledger, serial, job.station, timestamp(self._began))
                self._app.tell(Past(told, whole=False))
            self._wanted.pop()

    def _tell(self, state: str) -> None:
        """Show whether the ledger and the printer are well, if that has changed."""
        printer, around = self._app.desk.hands.printer, self._app.desk.around
        if (state, printer) != (around.ledger, around.printer):
            well, ready = state == "ok", printer != "not ready"
            self._app.tell(replace(around, ledger=state, ledger_well=well, printer=printer, printer_well=ready))
