"""The modules of a QR symbol from its codewords: their places, the eight masks, and the best of them.

A matrix is one integer with a bit per module, row by row from the top left, the first in the highest bit. One bit after
each row is never set, so that no pattern continues in the next row. An operation on the integer works on all modules.

qrcode makes the codewords and draws the same symbol from lists of booleans; a test compares the two. Source: ISO/IEC
18004, 7.7 to 7.9. qrcode judges the masks while the format and version information is still light, and so does this
module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from operator import itemgetter

from qrcode.main import QRCode

_MASKS: tuple[Callable[[int, int], bool], ...] = (
    lambda row, column: (row + column) % 2 == 0,
    lambda row, _: row % 2 == 0,
    lambda _, column: column % 3 == 0,
    lambda row, column: (row + column) % 3 == 0,
    lambda row, column: (row // 2 + column // 3) % 2 == 0,
    lambda row, column: row * column % 2 + row * column % 3 == 0,
    lambda row, column: (row * column % 2 + row * column % 3) % 2 == 0,
    lambda row, column: (row * column % 3 + (row + column) % 2) % 2 == 0,
)
"""Which modules a mask inverts (ISO/IEC 18004, table 10)."""
_TIMING_COLUMN = 6
_LONG = 5
_FINDER_LIKE = ("10111010000", "00001011101")
_BITS = bytes.maketrans(b"01", b"\0\1")

Modules = list[list[bool | None]]


def draw_modules(version: int, level: int, codewords: Sequence[int]) -> tuple[bytes, ...]:
    """Return the modules of a symbol in the best mask: rows from the top, 1 for a dark module, 0 for a light one.

    *level* is qrcode's number of the error correction level. *codewords* are those of the data and of its error
    correction, in the order of the symbol.
    """
    patterns, areas = _patterns(version), _areas(version)
    data = _placed(version, codewords)
    points = [_points_lost(patterns | data ^ area, _side(version)) for area in areas]
    mask = points.index(min(points))
    return _rows(_finished_patterns(version, level, mask) | data ^ areas[mask], _side(version))


def _side(version: int) -> int:
    return 17 + 4 * version


def _placed(version: int, codewords: Sequence[int]) -> int:
    """Return the matrix of the codewords' bits alone."""
    bits = "".join(format(word, "08b") for word in codewords)
    sources = _sources(version)
    return int("".join(itemgetter(*sources)(bits.ljust(max(sources) + 1, "0"))), 2)


@lru_cache(maxsize=40)
def _sources(version: int) -> tuple[int, ...]:
    """Return which bit of the codewords stands at each place of the matrix; for the others, one that is always 0."""
    side, free = _side(version), _free(version)
    order = [place for place in _zigzag(side) if place in free]
    number = {place: bit for bit, place in enumerate(order)}
    return tuple(number.get((row, column), len(order)) for row in range(side) for column in range(side + 1))


def _zigzag(side: int) -> Iterator[tuple[int, int]]:
    """Yield the places (row, column) in the order of the codewords' bits (ISO/IEC 18004, 7.7.3)."""
    rows = range(side)
    rights = (*range(side - 1, _TIMING_COLUMN, -2), *range(_TIMING_COLUMN - 1, 0, -2))
    for number, right in enumerate(rights):
        for row in rows if number % 2 else reversed(rows):
            yield from ((row, right), (row, right - 1))


@lru_cache(maxsize=40)
def _free(version: int) -> frozenset[tuple[int, int]]:
    """Return the places that no function pattern needs."""
    modules = _functions(version, level=0, mask=0, test=True)
    return frozenset(
        (row, column) for row, line in enumerate(modules) for column, dark in enumerate(line) if dark is None
    )


@lru_cache(maxsize=40)
def _areas(version: int) -> tuple[int, ...]:
    """Return the matrix of each mask."""
    side, free = _side(version), _free(version)
    return tuple(
        _matrix([[(row, column) in free and mask(row, column) for column in range(side)] for row in range(side)])
        for mask in _MASKS
    )


@lru_cache(maxsize=40)
def _patterns(version: int) -> int:
    """Return the matrix of the function patterns, with light format and version information."""
    return _matrix(_functions(version, level=0, mask=0, test=True))


@lru_cache(maxsize=256)
def _finished_patterns(version: int, level: int, mask: int) -> int:
    """Return the matrix of the function patterns of a finished symbol."""
    return _matrix(_functions(version, level, mask, test=False))


def _functions(version: int, level: int, mask: int, *, test: bool) -> Modules:
    """Return the function patterns as qrcode draws them, None for the other modules."""
    side = _side(version)
    code = QRCode(version=version, error_correction=level)
    code.modules_count = side
    code.modules = [[None] * side for _ in range(side)]
    for row, column in ((0, 0), (side - 7, 0), (0, side - 7)):
        code.setup_position_probe_pattern(row, column)
    code.setup_position_adjust_pattern()
    code.setup_timing_pattern()
    code.setup_type_info(test, mask)
    if version >= 7:
        code.setup_type_number(test)
    return code.modules


def _matrix(modules: Sequence[Sequence[bool | None]]) -> int:
    return int("".join("".join("1" if dark else "0" for dark in line) + "0" for line in modules), 2)


def _rows(matrix: int, side: int) -> tuple[bytes, ...]:
    bits = format(matrix, f"0{side * (side + 1)}b").encode().translate(_BITS)
    return tuple(bits[at : at + side] for at in range(0, len(bits), side + 1))


@lru_cache(maxsize=40)
def _whole(side: int) -> int:
    return _matrix([[True] * side] * side)


def _points_lost(dark: int, side: int) -> int:
    """Return the points that a masked symbol loses (ISO/IEC 18004, 7.8.3.1): the fewer, the better it reads."""
    light = _whole(side) ^ dark
    points = _lost_to_balance(dark.bit_count(), side)
    for same in (dark, light):
        pair = same & same >> 1
        points += 3 * (pair & pair >> side + 1).bit_count()
    for step in (1, side + 1):
        darks, lights = ([one >> step * back for back in range(len(_FINDER_LIKE[0]))] for one in (dark, light))
        points += _lost_to_runs(darks, step) + _lost_to_runs(lights, step) + _lost_to_finders(darks, lights)
    return points


def _lost_to_runs(shifted: Sequence[int], step: int) -> int:
    """Return 3 for each run of five modules, and 1 for each module more."""
    fives = shifted[0]
    for one in shifted[1:_LONG]:
        fives &= one
    return fives.bit_count() + 2 * (fives & ~(fives >> step)).bit_count()


def _lost_to_finders(darks: Sequence[int], lights: Sequence[int]) -> int:
    """Return 40 for each pattern that looks like that of a finder."""
    points = 0
    for pattern in _FINDER_LIKE:
        found = -1
        for module, dark, light in zip(pattern, darks, lights, strict=True):
            found &= dark if module == "1" else light
        points += 40 * found.bit_count()
    return points


def _lost_to_balance(dark: int, side: int) -> int:
    """Return 10 for each 5 % that the share of dark modules is away from a half, in qrcode's arithmetic."""
    return int(abs(float(dark) / side**2 * 100 - 50) / 5) * 10
