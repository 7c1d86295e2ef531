"""The typefaces of a label: their glyphs, and the width of a text.

They are standard PDF fonts, so a page does not need a font file. Their metrics come from reportlab, their characters
are those of Windows code page 1252 (WinAnsiEncoding, ISO 32000-1 annex D).
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum, unique

from reportlab.pdfbase.pdfmetrics import stringWidth

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
CAP_HEIGHT = 0.72
"""The height of a capital, relative to the font size."""


@unique
class Face(Enum):
    """A typeface, by its PDF name."""

    REGULAR = "Helvetica"
    BOLD = "Helvetica-Bold"
    MONO = "Courier-Bold"


def width_of(text: str, face: Face, size: float = 1.0) -> float:
    """Return the width of *text*, in the unit of *size*."""
    return float(stringWidth(text, face.value, size))


def is_writable(text: str) -> bool:
    """Return whether every character of *text* has a glyph."""
    return all(_has_glyph(letter) for letter in text)


def writable(text: str) -> str:
    """Return *text* in characters with a glyph: drop accents without one, replace other characters with "?".

    Return an empty text if nothing else is left.
    """
    letters = [_nearest(letter) for letter in unicodedata.normalize("NFC", text)]
    if not any(letter.strip() and letter != "?" for letter in letters):
        return ""
    return re.sub(r"\?{2,}", "?", "".join(letters)).strip()


def shorten(text: str, face: Face, width: float) -> str:
    """Return *text*, shortened with an ellipsis if it is wider than *width* at size 1, empty if nothing fits."""
    if width_of(text, face) <= width:
        return text
    for length in range(len(text) - 1, 0, -1):
        short = text[:length].rstrip(" -_.") + ELLIPSIS
        if width_of(short, face) <= width:
            return short
    return ""


def steady(text: str) -> str:
    """Return *text* with zeros for digits and hexadecimal letters, so that all labels of a batch measure the same."""
    return re.sub(r"[0-9a-f]", "0", text)


def _has_glyph(letter: str) -> bool:
    if not letter.isprintable():
        return False
    try:
        letter.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True


def _nearest(letter: str) -> str:
    if _has_glyph(letter):
        return letter
    if letter.isspace():
        return " "
    plain = "".join(part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(part))
    return plain if plain and is_writable(plain) else "?"
