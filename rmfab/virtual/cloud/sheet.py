"""A CSV as Go's encoding/csv reads it, which is how RainMaker Neo does: stricter than most.

Source: pkg.go.dev/encoding/csv, Reader. Every record has as many fields as the first. A quote may only begin a quoted
field, and only a comma or the end of the line may follow its end. Empty lines are skipped. A byte order mark is a part
of the first name.
"""

from __future__ import annotations

from collections.abc import Iterator


class BadSheetError(Exception):
    """A CSV that cannot be read; its message is Go's."""


def read_sheet(data: bytes) -> list[dict[str, str]]:
    """Return the records of a CSV by the names in its first. Names and cells are trimmed. Raise BadSheetError."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BadSheetError("invalid UTF-8") from None
    records = list(_records(text))
    if not records:
        raise BadSheetError("EOF")
    head = [name.strip() for name in records[0]]
    for number, record in enumerate(records[1:], 2):
        if len(record) != len(head):
            raise BadSheetError(f"record on line {number}: wrong number of fields")
    return [dict(zip(head, (cell.strip() for cell in record), strict=True)) for record in records[1:]]


def _records(text: str) -> Iterator[list[str]]:
    at = 0
    while at < len(text):
        if text[at] == "\n":
            at += 1
            continue
        record: list[str] = []
        while True:
            cell, at = _quoted(text, at + 1) if text[at : at + 1] == '"' else _bare(text, at)
            record.append(cell)
            if text[at : at + 1] != ",":
                break
            at += 1
        yield record
        at += 1


def _quoted(text: str, at: int) -> tuple[str, int]:
    """Return the quoted field whose content begins *at*, and where its end is."""
    cell = ""
    while True:
        end = text.find('"', at)
        if end < 0:
            raise BadSheetError('extraneous or missing " in quoted-field')
        cell += text[at:end]
        following = text[end + 1 : end + 2]
        if following == '"':
            cell += '"'
            at = end + 2
        elif following in ("", ",", "\n") or text[end + 1 : end + 3] == "\r\n":
            return cell.replace("\r\n", "\n"), end + 1 + (following == "\r")
        else:
            raise BadSheetError('extraneous or missing " in quoted-field')


def _bare(text: str, at: int) -> tuple[str, int]:
    ends = [end for end in (text.find(",", at), text.find("\n", at)) if end >= 0]
    end = min(ends, default=len(text))
    cell = text[at:end].removesuffix("\r") if text[end : end + 1] == "\n" else text[at:end]
    if '"' in cell:
        raise BadSheetError('bare " in non-quoted-field')
    return cell, end
