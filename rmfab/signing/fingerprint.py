"""Fingerprints: what two people compare over a separate channel, such as the phone."""

from __future__ import annotations

import hashlib
import re

_DIGITS = 32


def fingerprint(data: bytes) -> str:
    """Return the fingerprint of *data*: 128 bits of its SHA-256, as eight groups of four hex digits."""
    digits = hashlib.sha256(data).hexdigest()[:_DIGITS]
    return "-".join(digits[at : at + 4] for at in range(0, _DIGITS, 4))


def is_same(typed: str, known: str) -> bool:
    """Return whether a person who typed *typed* meant the fingerprint *known*; separators and case do not count."""
    return re.sub(r"[^0-9a-f]", "", typed.lower()) == known.replace("-", "")
