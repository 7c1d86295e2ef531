"""A report as one page of HTML that needs nothing else: plots, tables, and a list of units that sorts and filters.

Everything that comes from devices, fixtures and people is text, escaped by Jinja2. The page's policy allows only its
own style and script, by their digests (Content Security Policy level 3, 2.3.1): an escaped text that was none would
still not run, and nothing is loaded from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, BinaryIO, NamedTuple

from rmfab.errors import printable
from rmfab.files import read_input, shipped
from rmfab.ledger.events import Outcome
from rmfab.line.shifts import LocalTime
from rmfab.report.document import ReportDocument, missing_extra
from rmfab.report.sections import Kind, Section, SectionColumn
from rmfab.report.units import ListedUnit

try:
    from jinja2 import Environment
    from markupsafe import Markup

    from rmfab.report.plots import few_hours, plots
except ImportError:
    raise missing_extra(".html") from None

MOST_UNITS = 10_000
"""In the list of a page: more than that make it slow to open. The other forms have all."""
UNIT_COLUMNS = ("serial", "state", "verdict", "cause", "first pass", "final", "slot", "tries", "operator", "time", "s")
_VERDICTS = ("PASS", "MARGINAL", "FAIL", "ERROR", "ABORTED")
_FOLDER = "templates"


class _Cell(NamedTuple):
    text: str
    name: str = ""


@dataclass(frozen=True)
class _Row:
    verdict: str
    cells: tuple[_Cell, ...]


def write_page(stream: BinaryIO, report: ReportDocument) -> None:
    """Write the page."""
    css, script = _part("report.css"), _part("report.js")
    environment = Environment(autoescape=True, trim_blocks=True, keep_trailing_newline=True)
    environment.filters |= {"align": _align, "cells": lambda row, section: _cells(row, section, report.local)}
    drawn = plots(report.numbers, {section.name: section for section in report.sections})
    note = _note(report)
    parts = environment.from_string(_part("report.html")).stream(
        policy=Markup(_policy(css, script)),  # noqa: S704 - ours
        css=Markup(css),  # noqa: S704 - ours
        script=Markup(script),  # noqa: S704 - ours
        plots={name: Markup(svg) for name, svg in drawn.items()},  # noqa: S704 - ElementTree has escaped it
        title=printable(_title(report)),
        head=[printable(line) for line in _head(report)],
        tiles=list(_tiles(report)),
        sections=[section for section in report.sections if section.name != "hours" or few_hours(report.numbers)],
        verdicts=_VERDICTS,
        unit_columns=UNIT_COLUMNS,
        units=_rows(report, only_bad=bool(note)),
        note=note,
    )
    parts.enable_buffering(64)
    parts.dump(stream, encoding="utf-8")


def _part(name: str) -> str:
    return read_input(shipped(_FOLDER, name)).decode("utf-8")


def _policy(css: str, script: str) -> str:
    allowed = f"style-src '{_digest(css)}'; script-src '{_digest(script)}'"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _title(report: ReportDocument) -> str:
    batches = report.head.batches
    named = ", ".join(batches[:3]) + (f" and {len(batches) - 3} more" if len(batches) > 3 else "")
    return f"{report.head.product}: {named}"


def _head(report: ReportDocument) -> Iterator[str]:
    head, local = report.head, report.local
    since, until = (None if ts is None else _time(ts, local) for ts in (head.period.since, head.period.until))
    if since or until:
        what = "Shift" if head.period.shift else "Period"
        yield f"{what}: {since or 'from the start'} to {until or 'now'}"
    by = f" by {head.by}" if head.by else ""
    zone = local.of(datetime.fromisoformat(head.made)).tzname()
    yield f"Written {_time(head.made, local)} on {head.station}{by}; times in {zone}; rmfab {head.tool}"
    if head.release is not None:
        yield f"Release {head.release[0]}, {head.release[1]}"
    if head.trust is not None:
        yield f"Trust file version {head.trust[0]}, {head.trust[1]}"
    yield f"Ledger {head.ledger}"


def _tiles(report: ReportDocument) -> Iterator[tuple[str, str, str]]:
    totals = report.totals
    first, final = totals["first_pass"], totals["final"]
    judged = first["passed"] + first["failed"]
    yield "units", str(totals["units"]), f"{judged} with a first pass"
    yield "PASS at first", str(first["passed"]), f"{totals['marginal']} of them narrowly"
    yield "FAIL at first", str(first["failed"]), f"{final['failed']} still FAIL"
    interval = f"95 %: {_share(first['low'])} to {_share(first['high'])}" if judged else "no unit yet"
    yield "first-pass yield", _share(first["yield"]), interval
    yield "final yield", _share(final["yield"]), f"{final['passed']} of {final['passed'] + final['failed']}"
    yield "rolled yield", _share(totals["rolled_yield"]), "product over the steps"
    yield "runs with ERROR", str(totals["runs"].get("ERROR", 0)), "the station's, in no yield"


def _rows(report: ReportDocument, *, only_bad: bool) -> Iterator[_Row]:
    units = (unit for unit in report.units() if not only_bad or _is_bad(unit))
    for unit in islice(units, MOST_UNITS):
        yield _Row(unit.verdict or "", tuple(_unit_cells(unit, report.local)))


def _is_bad(unit: ListedUnit) -> bool:
    return not unit.first_pass == unit.verdict == Outcome.PASS


def _note(report: ReportDocument) -> str:
    units = report.totals["units"]
    if units <= MOST_UNITS:
        return ""
    return f"{units} units: listed are those that did not pass at once, at most {MOST_UNITS}. The other forms list all."


def _unit_cells(unit: ListedUnit, local: LocalTime) -> Iterator[_Cell]:
    yield _Cell(printable(unit.serial), "w")
    yield _Cell(unit.state)
    yield _Cell(unit.verdict or "", unit.verdict or "")
    yield _Cell(printable(unit.cause or ""))
    for verdict in (unit.first_pass, unit.final):
        yield _Cell(verdict or "", verdict or "")
    yield _Cell(printable(unit.slot or ""))
    yield _Cell(str(unit.attempts), "n")
    yield _Cell(printable(unit.operator or ""))
    yield _Cell("" if unit.time is None else _time(unit.time, local), "w")
    yield _Cell("" if unit.seconds is None else f"{unit.seconds:.1f}", "n")


def _cells(row: tuple[Any, ...], section: Section, local: LocalTime) -> Iterator[tuple[SectionColumn, str]]:
    for column, value in zip(section.columns, row, strict=True):
        yield column, printable(_shown(value, column.kind, local))


def _shown(value: Any, kind: Kind, local: LocalTime) -> str:
    if value is None:
        return ""
    match kind:
        case Kind.SHARE:
            return _share(value)
        case Kind.NUMBER:
            return f"{value:.4g}"
        case Kind.TIME:
            return _time(value, local)
        case Kind.FLAG:
            return "yes" if value else ""
    return str(value)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _time(ts: str, local: LocalTime) -> str:
    return f"{local.of(datetime.fromisoformat(ts)):%Y-%m-%d %H:%M}"


def _align(column: SectionColumn) -> Markup:
    """Return the class of a cell in *column*."""
    if column.key in ("digest", "hash", "chain"):
        return Markup(' class="hash"')
    if column.kind is Kind.TIME:
        return Markup(' class="w"')
    return Markup("") if column.kind in (Kind.TEXT, Kind.FLAG) else Markup(' class="n"')
