"""Fonts as files: which letters they have, and how wide a text is, on paper and in dots.

reportlab measures and embeds a font for pages; Pillow (FreeType) sets it on dots, hinted for exactly these dots, so
that all stems of a line are equally wide and every letter starts on a whole dot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import cast

from PIL import ImageFont
from reportlab.pdfbase.pdfmetrics import getFont, getRegisteredFontNames, stringWidth
from reportlab.pdfbase.ttfonts import TTFont

from rmfab.label.text import MM
from rmfab.label.typeface import Face, font_file, font_name, reading_font, register_font

Measure = Callable[[str, "LabelFont", float], float]
"""The width in mm of a text in a font of so many points."""


@dataclass(frozen=True)
class LabelFont:
    """A TrueType font: the *name* under which reportlab has it, and its file."""

    name: str
    path: Path
    bold: bool = False

    def lacking(self, text: str) -> str:
        """Return the characters of *text* that the font has no glyph for, each once."""
        known = _code_points(self.name)
        return "".join(dict.fromkeys(one for one in text if not one.isprintable() or ord(one) not in known))

    def letter_on_dots(self, letter: str, pixels: int) -> int:
        """Return the width of a letter at a size of *pixels* dots, in dots."""
        return _letter_on_dots(self.path, pixels, letter)

    def on_dots(self, pixels: int) -> ImageFont.FreeTypeFont:
        """Return the font at a size of *pixels* dots."""
        return _on_dots(self.path, pixels)


def face_font(face: Face) -> LabelFont:
    """Return the font of *face*."""
    return LabelFont(font_name(face), font_file(face), bold=face is not Face.REGULAR)


@lru_cache(maxsize=64)
def load_font(path: Path, *, bold: bool = False) -> LabelFont:
    """Return the TrueType font *path*. Raise InputError if it cannot be used."""
    name = f"rmfab-file-{path}"
    with reading_font(path):
        register_font(name, path)
    _on_dots(path, 12)
    return LabelFont(name, path, bold)


@lru_cache(maxsize=64)
def registered(font: LabelFont) -> str:
    """Return the name of *font* for reportlab, which has it from now on, also if a different process measured it.

    `getFont` would search all folders of fonts for an unknown name, and swallow ^C and SIGTERM meanwhile.
    """
    if font.name not in getRegisteredFontNames():
        with reading_font(font.path):
            register_font(font.name, font.path)
    return font.name


def width_on_paper(text: str, font: LabelFont, size: float) -> float:
    """Return the width in mm of *text* on a page."""
    return float(stringWidth(text, font.name, size)) * MM


def measure_on_dots(dot: float) -> Measure:
    """Return the measure for dots of *dot* mm: the width that the text has in a bitmap."""

    def width(text: str, font: LabelFont, size: float) -> float:
        pixels = pixels_of(size, dot)
        return sum(font.letter_on_dots(letter, pixels) for letter in text) * dot

    return width


def pixels_of(size: float, dot: float) -> int:
    """Return a type size of *size* points in whole dots of *dot* mm."""
    return max(1, round(size * MM / dot))


@lru_cache(maxsize=256)
def _on_dots(path: Path, pixels: int) -> ImageFont.FreeTypeFont:
    with reading_font(path):
        return ImageFont.truetype(str(path), pixels, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=4096)
def _letter_on_dots(path: Path, pixels: int, letter: str) -> int:
    font = _on_dots(path, pixels)
    with reading_font(path):
        font.getmask(letter, mode="1")  # only drawing finds an outline that is damaged
        return round(font.getlength(letter, mode="1"))


@lru_cache(maxsize=64)
def _code_points(name: str) -> frozenset[int]:
    return frozenset(_true_type(name).face.charToGlyph)


def _true_type(name: str) -> TTFont:
    return cast("TTFont", getFont(name))
