"""Registration files: one row for each node, in the form that each cloud reads.

Sources: esp-rainmaker-admin-cli, rmaker_admin_lib/certs.py (`node_certs.csv`; 50,000 rows in one request, README);
esp-rainmaker-neo, docs/en/specs/node_reg.md, whose reader is Go's encoding/csv: every row has as many fields as the
header, and a byte order mark would become part of the first column's name. There, each further column becomes a tag.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum, unique

from rmfab.cloud.aws_bulk import bulk_row
from rmfab.cloud.node import Node

MOST_ROWS = 50_000
"""The most rows that RainMaker registers in one request (esp-rainmaker-admin-cli, README)."""

_COLUMNS = ("serial", "node_id", "batch", "state", "mac", "certificate_id")
_FORMULAS = ("=", "+", "-", "@")
"""With what a spreadsheet program lets a formula begin (owasp.org, CSV Injection)."""


@unique
class ExportForm(StrEnum):
    """The form of a registration file, or of a list for people and programs."""

    RAINMAKER = "rainmaker"
    NEO = "neo"
    AWS_BULK = "aws-bulk"
    JSONL = "jsonl"
    CSV = "csv"


@dataclass(frozen=True)
class RowForm:
    """A text file with the line *head*, if any, and then a *row* for each node; at most *most* rows."""

    head: str
    row: Callable[[Node], str]
    most: int | None = None


def row_form(form: ExportForm, *, with_qrcode: bool = False) -> RowForm:
    """Return how *form* is written; *with_qrcode*: RainMaker's file gets its third column, with the QR payload."""
    if form is ExportForm.RAINMAKER and with_qrcode:
        return RowForm("node_id,certs,qrcode\n", _rainmaker_with_qrcode, MOST_ROWS)
    return _FORMS[form]


def _rainmaker(node: Node) -> str:
    return f"{node.node_id},{_quoted(node.pem)}\n"


def _rainmaker_with_qrcode(node: Node) -> str:
    payload = node.payload.reveal() if node.payload is not None else ""
    return f"{node.node_id},{_quoted(node.pem)},{_quoted(payload)}\n"


def _list_for_programs(node: Node) -> str:
    return json.dumps({**_described(node), "certificate": node.pem}) + "\n"


def _list_for_people(node: Node) -> str:
    return ",".join(_cell(value or "") for value in _described(node).values()) + "\n"


def _described(node: Node) -> dict[str, str | None]:
    return {name: getattr(node, name) for name in _COLUMNS}


def _cell(text: str) -> str:
    return _quoted(f"'{text}" if text.startswith(_FORMULAS) else text)


def _quoted(text: str) -> str:
    """Return a field in quotes (RFC 4180, section 2)."""
    return '"' + text.replace('"', '""') + '"'


_FORMS = {
    ExportForm.RAINMAKER: RowForm("node_id,certs\n", _rainmaker, MOST_ROWS),
    ExportForm.NEO: RowForm("node_id,certs\n", _rainmaker),
    ExportForm.AWS_BULK: RowForm("", bulk_row),
    ExportForm.JSONL: RowForm("", _list_for_programs),
    ExportForm.CSV: RowForm(",".join(_COLUMNS) + "\n", _list_for_people),
}
