"""The pattern of serials: literal text and one counter.

Grammar: text of `A-Z a-z 0-9 . _ -` with exactly one `{n}` or `{n:0W}`, where W is a width of 1 to 18 digits. The
trailing `d` is optional: `LMP-{n:06d}` gives LMP-000001, LMP-000002 … No other syntax of str.format is accepted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rmfab.errors import InputError
from rmfab.files import is_safe_name

_PATTERN = re.compile(r"(?P<before>[A-Za-z0-9._-]*)\{n(?::0(?P<width>[1-9]|1[0-8])d?)?\}(?P<after>[A-Za-z0-9._-]*)")


@dataclass(frozen=True)
class SerialPattern:
    """The text before and after a counter that is padded with zeros to *width* digits."""

    before: str
    width: int
    after: str

    @classmethod
    def parse(cls, text: str) -> SerialPattern:
        """Parse a pattern. Raise InputError if it breaks the grammar, or if its serials are not safe file names."""
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise InputError(
                f'"{text}" is not a serial pattern',
                hint="use letters, digits, . _ - and one counter, such as LMP-{n:06d}",
            )
        pattern = cls(match["before"], int(match["width"] or 1), match["after"])
        if not is_safe_name(pattern.serial(1)):
            raise InputError(
                f'serials of "{text}", such as "{pattern.serial(1)}", are not safe file names',
                hint="use at most 64 of A-Z a-z 0-9 . _ - and no leading dot",
            )
        return pattern

    def serial(self, n: int) -> str:
        """Return serial number *n*, counted from 1. Raise InputError if it exceeds the width or 64 characters."""
        serial = f"{self.before}{n:0{self.width}d}{self.after}"
        if n < 1 or (self.width > 1 and n >= 10**self.width) or len(serial) > 64:
            raise InputError(
                f"number {n} does not fit the serial pattern {self}",
                hint="give the counter more digits in product.toml ([product] serial)",
            )
        return serial

    def __str__(self) -> str:
        counter = "{n}" if self.width == 1 else f"{{n:0{self.width}d}}"
        return f"{self.before}{counter}{self.after}"
