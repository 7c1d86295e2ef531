"""The log file of a visit: the unit's console output without secrets."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from rmfab.board.esp.door import said
from rmfab.errors import RmfabError, printable
from rmfab.files import write_file
from rmfab.ledger.events import timestamp
from rmfab.line.visit import Visit

_NAME = re.compile(r"[^/.][^/]{0,39}-([0-9]{8}T[0-9]{6}\.[0-9]{3}Z)\.log")


def moment_of(name: str) -> datetime | None:
    """Return when the visit of the console log with the file name *name* ended; None if no console log has it."""
    match = _NAME.fullmatch(name)
    try:
        return datetime.strptime(match[1], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC) if match else None
    except ValueError:  # such as a 31st of February
        return None


def write_console_log(visit: Visit) -> str | None:
    """Write the console's text, or else the loader's output, without secrets. Return the whole path of the file."""
    text = visit.board.text or "".join(f"{line}\n" for line in said())
    if not text.strip():
        return None
    serial = visit.record.serial if visit.record else None
    name = serial or (visit.board.mac or visit.slot.name).replace(":", "")
    moment = timestamp(visit.job.now()).replace(":", "").replace("-", "")
    safe = "".join(char if char.isalnum() or char in "._-" else "_" for char in name).lstrip(".")[:40]
    path = visit.job.logs / f"{safe}-{moment}.log"
    try:
        write_file(path, printable(visit.redacted(text)).encode(), secret=True, force=True, sync=False)
    except RmfabError as error:
        visit.warn(f"cannot write the console log: {error}")
        return None
    return str(path.absolute())
