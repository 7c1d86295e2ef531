"""Words and shapes out of blocks, for eyes that are two metres away.

A block is the letter `#` in the colour of its own background, so that it is solid on a terminal with colours, and still
a block without. The words in blocks are English in every language, as on the testers that factories know; the
operator's own word stands below.
"""

from __future__ import annotations

from collections.abc import Mapping

from rmfab.screen.tile import Look

BLOCK = "#"
Drawing = tuple[str, ...]

_LATIN: Mapping[str, Drawing] = {
    "A": (".#.", "#.#", "###", "#.#", "#.#"),
    "B": ("##.", "#.#", "##.", "#.#", "##."),
    "C": ("###", "#..", "#..", "#..", "###"),
    "D": ("##.", "#.#", "#.#", "#.#", "##."),
    "E": ("###", "#..", "##.", "#..", "###"),
    "F": ("###", "#..", "##.", "#..", "#.."),
    "I": ("###", ".#.", ".#.", ".#.", "###"),
    "K": ("#.#", "#.#", "##.", "#.#", "#.#"),
    "L": ("#..", "#..", "#..", "#..", "###"),
    "N": ("##.", "#.#", "#.#", "#.#", "#.#"),
    "O": ("###", "#.#", "#.#", "#.#", "###"),
    "P": ("###", "#.#", "###", "#..", "#.."),
    "R": ("##.", "#.#", "##.", "#.#", "#.#"),
    "S": ("###", "#..", "###", "..#", "###"),
    "T": ("###", ".#.", ".#.", ".#.", ".#."),
    "Y": ("#.#", "#.#", ".#.", ".#.", ".#."),
}
SHAPES: Mapping[Look, Drawing] = {
    Look.PASS: ("....#", "...#.", "...#.", "#.#..", ".#..."),
    Look.MARGINAL: ("....#", "...#.", "...#.", "#.#..", ".#..."),
    Look.FAIL: ("#...#", ".#.#.", "..#..", ".#.#.", "#...#"),
    Look.ERROR: ("#", "#", "#", ".", "#"),
    Look.ABORTED: (".....", "####.", "####.", "####.", "....."),
    Look.SEEN: (".....", "#####", ".....", "#####", "....."),
    Look.LOCKED: (".###.", ".#.#.", "#####", "#####", "#####"),
}
MARKS: Mapping[Look, str] = {
    Look.EMPTY: "[ ]",
    Look.HELD: "[:]",
    Look.WORKING: "[>]",
    Look.PASS: "[v]",
    Look.MARGINAL: "[~]",
    Look.FAIL: "[X]",
    Look.ERROR: "[!]",
    Look.ABORTED: "[-]",
    Look.SEEN: "[=]",
    Look.LOCKED: "[#]",
}
"""The shape of each look in one character, for where there is no room."""


def drawn_word(word: str) -> Drawing | None:
    """Return *word* in blocks; None if one of its letters is not drawn."""
    if any(letter not in _LATIN for letter in word):
        return None
    return joined([_LATIN[letter] for letter in word], 1)


def joined(drawings: list[Drawing], gap: int) -> Drawing:
    """Return *drawings* of one height next to each other."""
    return tuple(("." * gap).join(rows) for rows in zip(*drawings, strict=True))


def scaled(drawing: Drawing, across: int, down: int) -> Drawing:
    """Return *drawing* with every block *across* times as wide and *down* times as high."""
    return tuple("".join(block * across for block in row) for row in drawing for _ in range(down))


def drawn_verdict(look: Look, word: str, width: int, height: int) -> Drawing | None:
    """Return shape and *word* as large as they fit, the word alone if only that fits; None if not even that does."""
    letters = drawn_word(word)
    if letters is None:
        return None
    both = joined([SHAPES[look], letters], 2)
    return _largest(both, width - 2, height) or _largest(letters, width - 2, height) or _largest(letters, width, height)


def _largest(drawing: Drawing, width: int, height: int) -> Drawing | None:
    """Return *drawing* as large as it fits: at most three times as wide, and twice as high."""
    for across, down in ((4, 2), (3, 2), (3, 1), (2, 1), (1, 1)):
        if len(drawing[0]) * across <= width and len(drawing) * down <= height:
            return scaled(drawing, across, down)
    return None
