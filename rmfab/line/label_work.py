"""What the labels of one run share: the queue before the printer, the scans of labels, and who answers questions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmfab.label.raster import Raster
from rmfab.label.scan import WrongScan, is_label_of, parse_scan
from rmfab.line.code_desk import CodeDesk
from rmfab.line.label_queue import LabelQueue
from rmfab.line.scan_back import ScanBack
from rmfab.secret import Secret

if TYPE_CHECKING:
    from rmfab.identity.identity import Identity
    from rmfab.ledger.records import LedgerIdentity

Draw = Callable[["Identity", "LedgerIdentity", int, str], Raster]
"""Draws the label of an identity and its record, for a printer's dots per inch, with the name of a slot."""

_YES, _NO = frozenset({"y", "yes"}), frozenset({"n", "no"})


@dataclass(frozen=True)
class LabelWork:
    """The *queue* before the printer, None without one; *scans*, None if labels are not scanned; the *desk* for the
    operator's answers, None if nobody answers."""

    draw: Draw
    queue: LabelQueue | None = None
    scans: ScanBack | None = None
    desk: CodeDesk | None = None


def yes_or_no(text: str, printed: Secret[str]) -> bool | None:
    """Return what *text* answers, None if it is no answer; a scan of the label with the code *printed* is a yes."""
    word = text.strip().lower()
    if word in _YES or word in _NO:
        return word in _YES
    try:
        return True if is_label_of(parse_scan(text), printed) else None
    except WrongScan:
        return None
