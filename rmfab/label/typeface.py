"""The typefaces of a label: their glyphs, and the width of a text.

They are TrueType fonts that are embedded in each PDF, so that every printer prints the same. Bitstream Vera comes with
reportlab, and its licence allows embedding. The product's name may have a font of its own (`[label] font`).
"""

from __future__ import annotations

import re
import struct
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, unique
from functools import cache
from hashlib import sha256
from pathlib import Path

import reportlab
from reportlab.pdfbase.pdfmetrics import registerFont, stringWidth
from reportlab.pdfbase.ttfonts import TTFError, TTFNameBytes, TTFont

from rmfab.errors import InputError, one_line

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
CAP_HEIGHT = 0.74
"""The height of a capital, relative to the font size: Vera has 0.729 and overshoots."""


@unique
class Face(Enum):
    """A typeface, by the name that it is registered under in reportlab."""

    REGULAR = "rmfab-regular"
    BOLD = "rmfab-bold"
    PRODUCT = "rmfab-product"


_VERA = Path(reportlab.__file__).parent / "fonts"
_FILES = {Face.REGULAR: _VERA / "Vera.ttf", Face.BOLD: _VERA / "VeraBd.ttf", Face.PRODUCT: _VERA / "VeraBd.ttf"}
_DAMAGE = (TTFError, OSError, struct.error, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What reportlab and Pillow raise for a font that is none, is cut short, or has wrong numbers in its tables."""
_chosen: list[Path | None] = [None]


def choose_font(path: Path | None) -> None:
    """Set the product's name in the font *path* from now on, None for the usual one. Raise InputError.

    reportlab keeps its fonts per process, and so does this.
    """
    before, _chosen[0] = _chosen[0], path
    try:
        _letters(Face.PRODUCT)
    except InputError:
        _chosen[0] = before
        raise


@contextmanager
def product_font(path: Path | None) -> Iterator[None]:
    """Set the product's name in the font *path* within the block. Raise InputError as `choose_font` does."""
    before = chosen_font()
    choose_font(path)
    try:
        yield
    finally:
        choose_font(before)


def chosen_font() -> Path | None:
    """Return what `choose_font` has chosen."""
    return _chosen[0]


def font_name(face: Face) -> str:
    """Return the name of *face* for reportlab, which has it from now on."""
    _letters(face)
    return _name(face, _own(face))


def font_file(face: Face) -> Path:
    """Return the file of *face*."""
    return _own(face) or _FILES[face]


def register_font(name: str, path: Path) -> TTFont:
    """Register the TrueType font *path* with reportlab as *name*. Raise what `reading_font` turns into an InputError.

    reportlab takes fonts whose faces have one name for one font, also two versions of it, or a regular and a bold one
    that were named alike. Here the digest of the file is part of that name.
    """
    font = TTFont(name, str(path))
    font.face.makeSubset([])  # a page needs more tables than reportlab looks for at first
    digest = sha256(path.read_bytes()).hexdigest()[:8]
    font.face.name = TTFNameBytes(font.face.name + f"-{digest}".encode())
    registerFont(font)
    return font


@contextmanager
def reading_font(path: Path | str) -> Iterator[None]:
    """Raise InputError if the block finds the font *path* missing or damaged. *path* may be several, with commas."""
    try:
        yield
    except _DAMAGE as error:
        raise InputError(
            f"cannot use the font {path}: {_reason(error)}",
            hint="use a TrueType font (.ttf, .ttc); fonts with CFF outlines do not work",
            cause="label-font",
        ) from error


def _reason(error: Exception) -> str:
    return one_line(str(error)) if isinstance(error, (TTFError, OSError)) else "it is damaged"


def _own(face: Face) -> Path | None:
    return _chosen[0] if face is Face.PRODUCT else None


def _name(face: Face, own: Path | None) -> str:
    """Return the name of *face*, a new one for each font: reportlab does not replace a font that it has."""
    return f"{face.value}-{own}" if own is not None else face.value


def _letters(face: Face) -> frozenset[int]:
    """Register *face*; return the code points that it has glyphs for."""
    return _letters_of(face, _own(face))


@cache
def _letters_of(face: Face, own: Path | None) -> frozenset[int]:
    try:
        font = register_font(_name(face, own), font_file(face))
    except _DAMAGE as error:
        raise InputError(
            f"cannot use this font: {_reason(error)}",
            where=str(own),
            hint="use a TrueType font (.ttf, .ttc) in product.toml ([label] font); fonts with CFF outlines do not work",
            cause="label-font",
        ) from error
    return frozenset(font.face.charToGlyph)


def width_of(text: str, face: Face, size: float = 1.0) -> float:
    """Return the width of *text*, in the unit of *size*."""
    return float(stringWidth(text, font_name(face), size))


def lacking(text: str, face: Face) -> str:
    """Return the characters of *text* that *face* has no glyph for, each once."""
    return "".join(dict.fromkeys(letter for letter in text if not _has_glyph(letter, face)))


def is_writable(text: str, face: Face) -> bool:
    """Return whether every character of *text* has a glyph."""
    return not lacking(text, face)


def writable(text: str, face: Face) -> str:
    """Return *text* in characters with a glyph: drop accents without one, replace other characters with "?".

    Return an empty text if nothing else is left.
    """
    letters = [_nearest(letter, face) for letter in unicodedata.normalize("NFC", text)]
    if not any(letter.strip() and letter != "?" for letter in letters):
        return ""
    return re.sub(r"\?{2,}", "?", "".join(letters)).strip()


def shorten(text: str, fits: Callable[[str], bool]) -> str:
    """Return *text*, shortened with an ellipsis if it does not fit, empty if nothing does."""
    if fits(text):
        return text
    starts = (text[:length].rstrip(" -_.") + ELLIPSIS for length in range(len(text) - 1, 0, -1))
    return next((start for start in starts if fits(start)), "")


def steady(text: str) -> str:
    """Return *text* with zeros for digits and hexadecimal letters, so that all labels of a batch measure the same."""
    return re.sub(r"[0-9a-f]", "0", text)


def _has_glyph(letter: str, face: Face) -> bool:
    return letter.isprintable() and ord(letter) in _letters(face)


def _nearest(letter: str, face: Face) -> str:
    if _has_glyph(letter, face):
        return letter
    if letter.isspace():
        return " "
    plain = "".join(part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(part))
    return plain if plain and is_writable(plain, face) else "?"
