"""The font of each text of a style: the style's, else Bitstream Vera."""

from __future__ import annotations

from rmfab.label.fonts import LabelFont, face_font, load_font
from rmfab.label.style import LabelStyle, StyleText, Weight
from rmfab.label.typeface import Face


def font_for(style: LabelStyle, text: StyleText) -> LabelFont:
    """Return the font of a text. A style with one font has it in bold texts, too."""
    return style_font(style, bold=text.weight is Weight.BOLD)


def style_font(style: LabelStyle, *, bold: bool) -> LabelFont:
    """Return the regular or bold font of a style."""
    own = style.bold_font or style.font if bold else style.font
    if own is not None:
        return load_font(own, bold=bold)
    return face_font(Face.BOLD if bold else Face.REGULAR)


def font_that_has(style: LabelStyle, text: StyleText, line: str) -> LabelFont:
    """Return the font for *line*: if Bitstream Vera lacks letters of it, that of product.toml if it has them."""
    font = font_for(style, text)
    if style.font is None and style.product_font is not None and font.lacking(line):
        product = load_font(style.product_font, bold=True)
        return font if product.lacking(line) else product
    return font
