"""Sizes as people write them: `0x6000`, `24576`, `24K`, `1M`; the suffixes are those of gen_esp32part.py (ESP-IDF)."""

from __future__ import annotations

import re

from rmfab.errors import InputError

_SIZE = re.compile(r"(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,18})([kKmM]?)")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20}


def parse_size(text: str) -> int:
    """Return a size in bytes. Raise InputError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InputError(f'"{text}" is not a size', hint="write 0x6000, 24576 or 24K")
    digits = found[1]
    number = int(digits, 16) if digits[:2].lower() == "0x" else int(digits)
    return number * _UNITS[found[2].lower()]
