"""The pattern of serials: literal text around one placeholder.

Grammar: text of `A-Z a-z 0-9 . _ -` with exactly one placeholder. `{n}` or `{n:0W}` is a counter, with a width W of 1
to 18 digits; the trailing `d` is optional: `LMP-{n:06d}` gives LMP-000001, LMP-000002 … `{mac}` and `{MAC}` are the MAC
of the board without colons, in lower-case or upper-case hex. `{scan}` is a code that the operator scans or types
(`rmfab.product.scan_rule`). No other syntax of str.format is accepted.

A serial from a MAC or a code is a *late* serial: the identity gets it with its board.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, unique

from rmfab.errors import InputError
from rmfab.files import is_safe_name

_TEXT = "[A-Za-z0-9._-]*"
_PATTERN = re.compile(
    rf"(?P<before>{_TEXT})\{{(?:n(?::0(?P<width>[1-9]|1[0-8])d?)?|(?P<late>mac|MAC|scan))\}}(?P<after>{_TEXT})"
)
_LONGEST = 64


@unique
class SerialSource(Enum):
    """What the placeholder of a pattern stands for, by its word there."""

    COUNTER = "n"
    MAC = "mac"
    UPPER_MAC = "MAC"
    SCAN = "scan"


@dataclass(frozen=True)
class SerialPattern:
    """The text before and after a placeholder; a counter is padded with zeros to *width* digits."""

    before: str
    width: int
    after: str
    source: SerialSource = SerialSource.COUNTER

    @classmethod
    def parse(cls, text: str) -> SerialPattern:
        """Parse a pattern. Raise InputError if it breaks the grammar, or if its serials are not safe file names."""
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise InputError(
                f'"{text}" is not a serial pattern',
                hint="use letters, digits, . _ - and one of {n}, {mac}, {MAC}, {scan}, such as LMP-{n:06d}",
            )
        source = SerialSource(match["late"] or "n")
        pattern = cls(match["before"], int(match["width"] or 1), match["after"], source)
        example = pattern.example
        if not is_safe_name(example):
            raise InputError(
                f'serials of "{text}", such as "{example}", are not safe file names',
                hint="use at most 64 of A-Z a-z 0-9 . _ - and no leading dot",
            )
        return pattern

    @property
    def late(self) -> bool:
        """Whether an identity gets its serial with its board."""
        return self.source is not SerialSource.COUNTER

    @property
    def example(self) -> str:
        """A serial of this pattern."""
        match self.source:
            case SerialSource.COUNTER:
                return self.serial(1)
            case SerialSource.SCAN:
                return f"{self.before}X{self.after}"
        return self.of_mac("24:0a:c4:00:00:01")

    def serial(self, n: int) -> str:
        """Return serial number *n*, counted from 1. Raise InputError if it exceeds the width or 64 characters."""
        serial = f"{self.before}{n:0{self.width}d}{self.after}"
        if n < 1 or (self.width > 1 and n >= 10**self.width) or len(serial) > _LONGEST:
            raise InputError(
                f"number {n} does not fit the serial pattern {self}",
                hint="give the counter more digits in product.toml ([product] serial)",
            )
        return serial

    def of_mac(self, mac: str) -> str:
        """Return the serial of the board with this MAC, in lower-case hex with colons."""
        digits = mac.replace(":", "")
        return f"{self.before}{digits.upper() if self.source is SerialSource.UPPER_MAC else digits}{self.after}"

    def of_code(self, code: str) -> str:
        """Return the serial with this scanned code. Raise InputError if it is not a safe file name."""
        serial = f"{self.before}{code}{self.after}"
        if not is_safe_name(serial):
            raise InputError(
                f'the code "{code[:_LONGEST]}" does not make a serial',
                hint="a serial has at most 64 of A-Z a-z 0-9 . _ - and no leading dot",
                cause="bad-code",
            )
        return serial

    def code_in(self, serial: str) -> str:
        """Return the code in *serial*. Raise InputError if it is not a serial of this pattern."""
        code = serial.removeprefix(self.before).removesuffix(self.after)
        if f"{self.before}{code}{self.after}" != serial:
            raise InputError(f'"{serial}" is not a serial of the pattern {self}', cause="bad-code")
        return code

    def __str__(self) -> str:
        word = self.source.value
        if self.source is SerialSource.COUNTER and self.width > 1:
            word = f"n:0{self.width}d"
        return f"{self.before}{{{word}}}{self.after}"
