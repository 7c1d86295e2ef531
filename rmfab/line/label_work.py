"""What the labels of one run share: the queue before the printer, the scans of labels, and who answers questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rmfab.label.scan import WrongScan, is_label_of, parse_scan
from rmfab.line.code_desk import CodeDesk
from rmfab.line.label_queue import LabelQueue
from rmfab.line.scan_back import ScanBack
from rmfab.secret import Secret

if TYPE_CHECKING:
    from rmfab.identity.identity import Identity
    from rmfab.label.print_raster import LabelRaster
    from rmfab.ledger.events import StoredEvent
    from rmfab.ledger.records import LedgerIdentity


class Draw(Protocol):
    """Draws labels."""

    def __call__(
        self,
        identity: Identity,
        record: LedgerIdentity,
        history: Callable[[], Sequence[StoredEvent]],
        dpi: int,
        slot: str = "",
    ) -> LabelRaster:
        """Return the label of *identity* for a printer's dots per inch; *slot* is where the board is."""


_YES, _NO = frozenset({"y", "yes"}), frozenset({"n", "no"})


@dataclass(frozen=True)
class LabelWork:
    """*draw* draws a label, of which each unit gets *copies*.

    The *queue* before the printer, None without one; *scans*, None if labels are not scanned; the *desk* for the
    operator's answers, None if nobody answers.
    """

    draw: Draw
    copies: int = 1
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
