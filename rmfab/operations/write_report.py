"""Write a report of a batch, a period or a shift, in the form that the file's ending names."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Self

from rmfab.errors import UsageError
from rmfab.files import output_file, output_path
from rmfab.json_text import parse_json
from rmfab.ledger.events import timestamp
from rmfab.ledger.histories import UnitHistory
from rmfab.ledger.store import Ledger
from rmfab.operations.read_ledger import ledger_to_read
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.report.document import ReportDocument, ReportHead
from rmfab.report.numbers import ReportNumbers
from rmfab.report.period import ALWAYS, Period
from rmfab.report.runs import runs_of
from rmfab.report.sections import sections, totals
from rmfab.report.units import ListedUnit, listed, row_of
from rmfab.workspace.workspace import Workspace

FORMS = (".html", ".json", ".csv", ".xlsx")


@dataclass(frozen=True)
class ReportRequest:
    """A report of *batch*, or of all batches, in *period*, for the file *output*. Raise UsageError for its ending."""

    output: Path
    batch: str | None = None
    period: Period = ALWAYS
    force: bool = False

    def __post_init__(self) -> None:
        if self.output.suffix.lower() not in FORMS:
            raise UsageError(
                f'"{self.output.name}" ends with none of {", ".join(FORMS)}', hint="the ending names the form"
            )


def write_report(workspace: Workspace, request: ReportRequest, terminal: Terminal = UNATTENDED) -> ReportDocument:
    """Write the report; return it. The ledger is read once, in constant memory.

    Raise LedgerError, InputError for an unknown batch, or if the file exists with different content.
    """
    form = request.output.suffix.lower()
    if form == ".html":
        from rmfab.report.report_page import write_page as write
    elif form == ".json":
        from rmfab.report.report_text import write_json as write
    elif form == ".csv":
        from rmfab.report.report_text import write_csv as write
    else:
        return _write_workbook(workspace, request, terminal)
    with _Spool() as spool:
        report = _report(workspace, request, spool, terminal)
        with output_file(request.output, force=request.force) as stream:
            write(stream, report)
    return report


def _write_workbook(workspace: Workspace, request: ReportRequest, terminal: Terminal) -> ReportDocument:
    from rmfab.report.report_xlsx import write_xlsx

    with _Spool() as spool:
        report = _report(workspace, request, spool, terminal)
        with output_path(request.output, force=request.force) as path:
            write_xlsx(path, report)
    return report


class _Spool:
    """The rows of the units: the ledger is read once, so that the list and the numbers are of one moment."""

    def __enter__(self) -> Self:
        self._file = tempfile.TemporaryFile("w+", encoding="ascii")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, unit: ListedUnit) -> None:
        """Add a row."""
        self._file.write(json.dumps(row_of(unit)) + "\n")

    def units(self) -> Iterator[ListedUnit]:
        """Yield all rows."""
        self._file.seek(0)
        for line in self._file:
            values = parse_json(line)
            if isinstance(values, list):
                yield ListedUnit(*values)


def _report(workspace: Workspace, request: ReportRequest, spool: _Spool, terminal: Terminal) -> ReportDocument:
    ledger, shifts = ledger_to_read(workspace, terminal), workspace.station.shifts
    period = request.period
    chains = ledger.chain_heads()  # first: they vouch for all that is read afterwards, and perhaps for less
    numbers = ReportNumbers(period, shifts)
    batches: dict[str, None] = {}
    for history in ledger.histories(request.batch, since=period.since):
        events = tuple(event for event in history.events if period.until is None or event.ts < period.until)
        if not any(period.contains(event.ts) for event in events):
            continue
        known = UnitHistory(history.batch, history.product, history.name, history.node_id, history.standing, events)
        runs = tuple(runs_of(events))
        unit = listed(known, runs, period)
        batches[unit.batch] = None
        numbers.add(unit, runs)
        spool.add(unit)
    numbers.add_lost(ledger.lost_runs(period.since, period.until))
    head = _head(workspace, ledger, period, tuple(batches) or (request.batch or "no units",))
    return ReportDocument(head, totals(numbers), sections(numbers, chains), numbers, spool.units, shifts.local)


def _head(workspace: Workspace, ledger: Ledger, period: Period, batches: tuple[str, ...]) -> ReportHead:
    product = workspace.product.name
    trust, release = ledger.last_trust(product), ledger.last_release(product)
    trusted = None if trust is None else trust.event.details
    accepted = None if release is None else release.event.details
    return ReportHead(
        product=product,
        batches=batches,
        period=period,
        made=timestamp(workspace.now()),
        by=workspace.badge.name,
        station=workspace.station.name,
        tool=_version(),
        ledger=ledger.id,
        trust=None if trusted is None else (trusted["version"], trusted["fingerprint"]),
        release=None if accepted is None else (str(accepted.get("version", "")), accepted["digest"]),
    )


def _version() -> str:
    try:
        return version("rmfab")
    except PackageNotFoundError:
        return "(not installed)"
