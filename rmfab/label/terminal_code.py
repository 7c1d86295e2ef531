"""A QR code in a terminal: half blocks, two rows of modules per line of text, with the quiet zone.

With colours, the code is black on white in any terminal. Without them, dark modules are printed in the text colour, as
on paper; *inverse* is for terminals with light text on a dark background.
"""

from __future__ import annotations

from collections.abc import Sequence

from rmfab.label.symbol import QUIET_ZONE, Symbol

_BLOCKS = {(0, 0): " ", (1, 0): "\N{UPPER HALF BLOCK}", (0, 1): "\N{LOWER HALF BLOCK}", (1, 1): "\N{FULL BLOCK}"}
# Colours 16 and 231 of the 256-colour palette, because themes change the eight basic colours.
_BLACK_ON_WHITE = "\x1b[38;5;16;48;5;231m"
_PLAIN = "\x1b[0m"
_GAP = "   "


def terminal_code(symbol: Symbol, *, colour: bool, inverse: bool = False) -> str:
    """Return the code as lines of text. *colour* sets black on white, and overrides *inverse*."""
    swap = int(inverse and not colour)
    margin = bytes(QUIET_ZONE)
    empty = bytes(symbol.side + 2 * QUIET_ZONE)
    rows = [empty] * QUIET_ZONE + [margin + row + margin for row in symbol.modules] + [empty] * QUIET_ZONE
    if len(rows) % 2:
        rows.append(empty)
    lines = (
        "".join(_BLOCKS[upper ^ swap, lower ^ swap] for upper, lower in zip(top, bottom, strict=True))
        for top, bottom in zip(rows[::2], rows[1::2], strict=True)
    )
    return "".join(f"{_BLACK_ON_WHITE}{line}{_PLAIN}\n" if colour else f"{line}\n" for line in lines)


def titled_code(symbol: Symbol, title: Sequence[str], columns: int, *, colour: bool) -> str:
    """Return the code with the lines *title* beside it, or on one line below it if *columns* are too few for that.

    A code is about as high as a terminal of 24 lines: a title above it would scroll away.
    """
    lines = terminal_code(symbol, colour=colour).splitlines()
    room = columns - symbol.side - 2 * QUIET_ZONE - len(_GAP)
    if max(map(len, title)) > room:
        return "\n".join([*lines, _GAP.join(title)]) + "\n"
    middle = (len(lines) - len(title)) // 2
    for number, text in enumerate(title, middle):
        lines[number] += _GAP + text
    return "\n".join(lines) + "\n"
