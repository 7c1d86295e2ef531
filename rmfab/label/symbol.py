"""The QR symbol of a payload: modules, version and error correction level.

Only this module imports the qrcode library. A symbol is the smallest that holds the payload, at the highest level that
does not make it larger (ISO/IEC 18004: levels L, M, Q, H restore about 7, 15, 25 and 30 % of the codewords).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, unique
from functools import lru_cache
from typing import Literal

from qrcode.constants import ERROR_CORRECT_H, ERROR_CORRECT_L, ERROR_CORRECT_M, ERROR_CORRECT_Q
from qrcode.exceptions import DataOverflowError
from qrcode.main import QRCode
from qrcode.util import QRData

from rmfab.errors import InputError
from rmfab.secret import Secret

QUIET_ZONE = 4
"""Light modules on each side of a symbol (ISO/IEC 18004, 6.3.8)."""
_BYTE_MODE: Literal[4] = 4


@unique
class Level(Enum):
    """An error correction level, weakest first. The value is qrcode's number for it."""

    L = ERROR_CORRECT_L
    M = ERROR_CORRECT_M
    Q = ERROR_CORRECT_Q
    H = ERROR_CORRECT_H


@dataclass(frozen=True)
class Symbol:
    """A QR symbol without its quiet zone. `modules[row][column]` is 1 if dark, 0 if light."""

    version: int
    level: Level
    modules: tuple[bytes, ...] = field(repr=False)

    @property
    def side(self) -> int:
        """The modules per side, without the quiet zone."""
        return len(self.modules)

    def rectangles(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield the dark modules as `rectangles_of` does."""
        return rectangles_of(self.modules)


def encode(payload: Secret[str], at_least: Level = Level.L) -> Symbol:
    """Return the symbol of *payload* in UTF-8, of level *at_least* or better. Raise InputError if it is too long."""
    data = payload.reveal().encode()
    version, level = _fit(len(data), at_least)
    code = QRCode(version=version, error_correction=level.value, border=0)
    code.add_data(QRData(data, mode=_BYTE_MODE), optimize=0)
    code.make(fit=False)
    return Symbol(version, level, tuple(bytes(map(bool, row)) for row in code.modules))


def side_of(payload: Secret[str], at_least: Level = Level.L) -> int:
    """Return the modules per side of the symbol that `encode` would make. Raise InputError as it does."""
    return 17 + 4 * _fit(len(payload.reveal().encode()), at_least)[0]


@lru_cache(maxsize=256)
def _fit(octets: int, at_least: Level) -> tuple[int, Level]:
    """Return the smallest version for *octets* bytes at *at_least*, and the best level that fits it.

    The cache contains lengths only, no payloads.
    """
    levels = list(Level)[list(Level).index(at_least) :]
    version = _smallest_version(octets, at_least)
    return version, max((level for level in levels if _fits(octets, level, version)), key=levels.index)


def _fits(octets: int, level: Level, version: int) -> bool:
    try:
        return _smallest_version(octets, level) <= version
    except InputError:
        return False


def _smallest_version(octets: int, level: Level) -> int:
    code = QRCode(error_correction=level.value)
    code.add_data(QRData(bytes(octets), mode=_BYTE_MODE), optimize=0)
    try:
        code.best_fit()
    except (DataOverflowError, ValueError) as error:
        raise InputError(f"payload of {octets} bytes is too long for a QR code") from error
    return code.version


def rectangles_of(rows: Sequence[bytes]) -> Iterator[tuple[int, int, int, int]]:
    """Yield dark modules as a few disjoint rectangles (column, row, columns, rows), from row 0 at the top.

    A run of a row grows downwards as long as the next row has the same run.
    """
    growing: dict[tuple[int, int], int] = {}
    for row, modules in enumerate((*rows, b"")):
        here = set(_runs(modules))
        for run in [run for run in growing if run not in here]:
            top = growing.pop(run)
            yield run[0], top, run[1], row - top
        for run in sorted(here):
            growing.setdefault(run, row)


def _runs(modules: bytes) -> Iterator[tuple[int, int]]:
    """Yield the runs of dark modules of one row as (first column, columns)."""
    start = modules.find(1)
    while start >= 0:
        end = modules.find(0, start)
        end = len(modules) if end < 0 else end
        yield start, end - start
        start = modules.find(1, end)
