"""The ledger's words for a label: how far it is known that it came out of a printer, and is on its board.

`sending` is written before the first byte goes to a printer, and one of `sent`, `printed` and `not-printed` after the
last. A label of which only `sending` is known is in doubt: nobody but a person can know whether it came out, so rmfab
never prints it again by itself. Events without a word are about labels on sheets, in pictures or on a terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, unique
from typing import Any

MOST_COPIES = 100
"""The most labels of one job."""


@unique
class LabelWord(StrEnum):
    """What is known of a label, in the details of an event of kind `label`.

    SENDING: a printer is about to get it. SENT: the printer took it, and cannot tell more. PRINTED: the printer, or the
    operator, says that it is out. NOT_PRINTED: it did not come out. SCANNED: it was read on its board.
    """

    SENDING = "sending"
    SENT = "sent"
    PRINTED = "printed"
    NOT_PRINTED = "not-printed"
    SCANNED = "scanned"

    @property
    def out(self) -> bool:
        """Whether a label came out, as far as the printer can tell."""
        return self in (LabelWord.SENT, LabelWord.PRINTED)


def word_in(details: Mapping[str, Any]) -> str | None:
    """Return the word in the *details* of an event, as text; None for a label that no printer printed."""
    word = details.get("word")
    return word if isinstance(word, str) else None


def copies_in(details: Mapping[str, Any]) -> int:
    """Return how many labels the event is about: one, if *details* do not say."""
    copies = details.get("copies", 1)
    return copies if type(copies) is int and 1 <= copies <= MOST_COPIES else 1
