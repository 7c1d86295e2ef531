"""A report as JSON, and as CSV: one table, a row per unit, with what seals it in each row."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from rmfab.report.document import ReportDocument
from rmfab.report.spreadsheet_text import write_rows
from rmfab.report.units import COLUMNS, as_json, row_of

CSV_COLUMNS = (*COLUMNS, "trust_version", "ledger", "chain_events", "chain_hash")
_BOM = b"\xef\xbb\xbf"


def write_json(stream: BinaryIO, report: ReportDocument) -> None:
    """Write the report as one JSON object; `units` comes last, one per line."""
    head: dict[str, Any] = {"report": report.head.to_json(), "totals": report.totals}
    head |= {section.name: section.to_json() for section in report.sections}
    stream.write(json.dumps(head, indent=1)[:-2].encode())
    stream.write(b',\n "units": [')
    for number, unit in enumerate(report.units()):
        stream.write((",\n  " if number else "\n  ").encode() + json.dumps(as_json(unit)).encode())
    stream.write(b"\n ]\n}\n")


def write_csv(stream: BinaryIO, report: ReportDocument) -> None:
    """Write the units as CSV: UTF-8 with a BOM, without which Excel reads it as the code page of its country."""
    stream.write(_BOM)
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    try:
        write_rows(text, CSV_COLUMNS, _sealed(report))
    finally:
        text.detach()


def _sealed(report: ReportDocument) -> Iterator[tuple[object, ...]]:
    heads = {row[1]: (row[2], row[3]) for row in report.section("chains").rows}
    trust = None if report.head.trust is None else report.head.trust[0]
    for unit in report.units():
        yield (*row_of(unit), trust, report.head.ledger, *heads.get(unit.chain or "", (None, None)))
