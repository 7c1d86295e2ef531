"""Fields of a signed document: each is judged when it is read, because a signature proves who wrote it, not what."""

from __future__ import annotations

import base64
import re

from rmfab.ledger.events import refuse_other_times
from rmfab.ledger.records import ID

LONGEST_TEXT = 1 << 12
_LARGEST_NUMBER = 1 << 53
_DIGEST = re.compile(r"[0-9a-f]{64}")


def text(value: object, longest: int = LONGEST_TEXT) -> str:
    """Return *value* if it is a text of at most *longest* characters. Raise TypeError."""
    if not isinstance(value, str) or len(value) > longest:
        raise TypeError("not a text, or too long")
    return value


def number(value: object) -> int:
    """Return *value* if it is an integer from 0 to 2^53. Raise TypeError."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _LARGEST_NUMBER:
        raise TypeError("not a number in range")
    return value


def time(value: object) -> str:
    """Return *value* if it is a ledger time. Raise TypeError or ValueError."""
    refuse_other_times(text(value))
    return text(value)


def ledger_id(value: object) -> str:
    """Return *value* if it is the id of a ledger, a chain or a holder. Raise TypeError or ValueError."""
    return _matched(ID, value)


def digest(value: object) -> str:
    """Return *value* if it is a SHA-256 in hex. Raise TypeError or ValueError."""
    return _matched(_DIGEST, value)


def to_base64(data: bytes) -> str:
    """Return *data* as base64."""
    return base64.b64encode(data).decode("ascii")


def from_base64(value: object, longest: int = 1 << 20) -> bytes:
    """Return the bytes of base64 in its one spelling. Raise TypeError or ValueError."""
    data = base64.b64decode(text(value, longest), validate=True)
    if to_base64(data) != value:
        raise ValueError("base64 is not canonical")
    return data


def _matched(pattern: re.Pattern[str], value: object) -> str:
    if pattern.fullmatch(text(value)) is None:
        raise ValueError("an id or a digest is invalid")
    return text(value)
