"""The file that is kept of a visit: what the unit's console said, without secrets."""

from __future__ import annotations

from rmfab.board.esp.door import said
from rmfab.errors import RmfabError
from rmfab.files import write_file
from rmfab.ledger.events import timestamp
from rmfab.line.visit import Visit


def write_console_log(visit: Visit) -> str | None:
    """Keeps the console's text without the PoP, or what the loader said; returns where."""
    text = visit.board.text or "".join(f"{line}\n" for line in said())
    if not text.strip():
        return None
    serial = visit.record.serial if visit.record else None
    name = serial or (visit.board.mac or visit.slot.name).replace(":", "")
    moment = timestamp(visit.job.now()).replace(":", "").replace("-", "")
    safe = "".join(char if char.isalnum() or char in "._-" else "_" for char in name).lstrip(".")[:40]
    path = visit.job.logs / f"{safe}-{moment}.log"
    try:
        write_file(path, visit.redacted(text).encode(), secret=True, force=True, sync=False)
    except RmfabError as error:
        visit.say("warning", f"the console log was not kept: {error}")
        return None
    return str(path)
