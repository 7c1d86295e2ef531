"""The drawing of a unit's label in a style: from the placeholders to texts and codes in their places.

Pure computation. A text that is too wide becomes smaller, down to 5 pt. Only a text without serial, name, PoP and other
numbers is then shortened, with a warning; everything else is printed in full or refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rmfab.errors import InputError
from rmfab.label.barcode import make_barcode
from rmfab.label.content import Label, Placeholder
from rmfab.label.drawing import Drawing, DrawnBarcode, DrawnCode, DrawnLogo, DrawnText
from rmfab.label.flow import CodePlace, FlowItem, flow_area, largest_code, place_code, stack
from rmfab.label.fonts import LabelFont, Measure, measure_on_dots, pixels_of, width_on_paper
from rmfab.label.layout import Box
from rmfab.label.logo import Logo
from rmfab.label.module_size import choose_level, judge_barcode, judge_form, judge_module, module_in
from rmfab.label.style import Align, LabelStyle, StyleBarcode, StyleCode, StyleLogo, StyleText
from rmfab.label.style_fonts import font_that_has, style_font
from rmfab.label.symbol import Symbol, encode
from rmfab.label.text import GROUP_GAP, MM, SMALLEST, grouped
from rmfab.label.typeface import CAP_HEIGHT, shorten, steady
from rmfab.label.warnings import LabelWarning

_STEP = 0.25
_CAPTION = 0.85
_CAPTION_GAP = 0.6
_FEWEST_LETTERS = 5
_MAY_SHORTEN = frozenset({Placeholder.PRODUCT})


@dataclass(frozen=True)
class Composition:
    """The drawing of one label, and the warnings about it."""

    drawing: Drawing
    warnings: tuple[LabelWarning, ...]


def compose(label: Label, style: LabelStyle, dot: float | None = None, measure: Measure | None = None) -> Composition:
    """Return the drawing of *label* in *style*; with *dot*, the size of a dot in mm, for a printer with such dots.

    *measure*: how wide texts are, if not as a bitmap of such dots has them.
    Raise InputError if a module of a code would be too small, or a text does not fit or has letters without a glyph.
    """
    usual = width_on_paper if dot is None else measure_on_dots(dot)
    return _Composer(label, style, dot, measure or usual).compose()


class _Composer:
    """The making of one drawing."""

    def __init__(self, label: Label, style: LabelStyle, dot: float | None, measure: Measure) -> None:
        self._label = label
        self._style = style
        self._dot = dot
        self._measure = measure
        self._warnings: list[LabelWarning] = []

    def compose(self) -> Composition:
        """Return the drawing with its warnings."""
        style = self._style
        flowing = [item for item in style.flowing if not self._is_left_out(item)]
        code, place = self._code(style.qr, flowing) if style.qr is not None else (None, None)
        places = dict(zip(flowing, stack(style, flowing, flow_area(style, place)), strict=True))
        indent = self._indent(flowing)
        drawing = Drawing(
            style.width,
            style.height,
            tuple(run for text in style.texts for run in self._text(text, places.get(text), indent)),
            code,
            self._barcode(style.barcode, places) if style.barcode is not None else None,
            self._logo(style.logo, places) if style.logo is not None else None,
        )
        return Composition(drawing, tuple(dict.fromkeys(self._warnings)))

    def _is_left_out(self, item: FlowItem) -> bool:
        """Whether a text is left out because a placeholder has no value; warn unless the product has no PoP."""
        if not isinstance(item, StyleText):
            return False
        unknown = [one for one in item.placeholders if not self._label.value(one).reveal()]
        missing = [one.value for one in sorted(unknown) if one is not Placeholder.POP]
        if missing:
            what = f"{' and '.join(missing)} not known yet: {item.key} of style {self._style} is left out"
            self._warnings.append(LabelWarning(what, "print the label after `rmfab run`"))
        return bool(unknown)

    def _code(self, code: StyleCode, flowing: list[FlowItem]) -> tuple[DrawnCode, CodePlace]:
        judge_form(self._label, self._style, code)
        symbol, module = self._symbol(code)
        quiet = code.quiet_zone * module
        place = place_code(self._style, code, flowing, module * symbol.side + 2 * quiet, quiet)
        x, y = self._snap(place.x + quiet), self._snap(place.y + quiet)
        return DrawnCode(symbol, x, y, module, code.quiet_zone), place

    def _symbol(self, code: StyleCode) -> tuple[Symbol, float]:
        side = largest_code(self._style, self._style.flowing)
        room = side, self._inner(code, side)
        level = choose_level(self._label.payload, code, room, self._dot)
        symbol = encode(self._label.payload, level)
        module = module_in(room, symbol.side, code.quiet_zone, self._dot)
        where = f"{self._label.serial}, style {self._style}"
        if warning := judge_module(self._label, code.quiet_zone, symbol.side, module, self._dot, where):
            self._warnings.append(warning)
        return symbol, module

    def _inner(self, code: StyleCode, side: float) -> float:
        """Return the side of the square for the dark modules: a code without a box keeps them inside the margins."""
        style = self._style
        return side if code.box is not None else min(side, min(style.width, style.height) - 2 * style.margin)

    def _text(self, text: StyleText, place: Box | None, indent: float) -> Iterator[DrawnText]:
        box = text.box or place
        if box is None or (text.box is not None and self._is_left_out(text)):
            return
        values = (self._label.value(one).reveal() if isinstance(one, Placeholder) else one for one in text.parts)
        line = "".join(values)
        if text.placeholders & {Placeholder.PRODUCT}:
            line = " ".join(line.split())
        font = font_that_has(self._style, text, line)
        self._judge_letters(text, font, line)
        caption = indent if text.box is None else self._captions_width([text])
        groups = grouped(line) if text.parts == (Placeholder.POP,) else (line,)
        room = box.width - (caption if text.caption else 0.0)
        size, groups = self._fit(text, font, groups, room)
        width = self._width(groups, font, size) + (caption if text.caption else 0.0)
        x = self._snap(box.x + max(0.0, box.width - width) * text.align.share)
        baseline = self._baseline(box, size)
        if text.caption:
            small = self._size(text.size * _CAPTION)
            yield DrawnText(text.caption, x, baseline, style_font(self._style, bold=False), small)
            x = self._snap(x + caption)
        for group in groups:
            yield DrawnText(group, x, baseline, font, size)
            x = self._snap(x + self._measure(group, font, size) + GROUP_GAP * size * MM)

    def _baseline(self, box: Box, size: float) -> float:
        """Return the baseline of a line whose capitals are in the middle of *box*."""
        return self._snap(box.y + (box.height + CAP_HEIGHT * size * MM) / 2)

    def _judge_letters(self, text: StyleText, font: LabelFont, line: str) -> None:
        if missing := font.lacking(line):
            secret = Placeholder.POP in text.placeholders
            shown = "letters of the PoP" if secret else f"letters of this text: {missing}"
            raise InputError(
                f"the label's font {font.path.name} lacks {shown}",
                where=f"style {self._style}: {text.key} text",
                hint="set [label] font of the style to a TrueType font that has them",
                cause="label-font",
            )

    def _indent(self, flowing: list[FlowItem]) -> float:
        return self._captions_width([item for item in flowing if isinstance(item, StyleText)])

    def _captions_width(self, texts: list[StyleText]) -> float:
        """Return the width of the column of captions, so that all texts beside them start at one edge."""
        font = style_font(self._style, bold=False)
        widths = [
            self._measure(each.caption, font, self._size(each.size * _CAPTION)) + _CAPTION_GAP * each.size * MM
            for each in texts
            if each.caption
        ]
        return max(widths, default=0.0)

    def _fit(
        self, text: StyleText, font: LabelFont, groups: tuple[str, ...], room: float
    ) -> tuple[float, tuple[str, ...]]:
        """Return the size and the text that fit *room*: smaller type first, then an ellipsis. Raise InputError."""
        usual = tuple(steady(group) for group in groups) if text.placeholders - _MAY_SHORTEN else groups
        size = largest = self._size(text.size)
        for size in self._sizes(largest):
            if max(self._width(groups, font, size), self._width(usual, font, size)) <= room:
                return size, groups
        if self._width(groups, font, size) <= room:
            return size, groups
        if text.placeholders <= _MAY_SHORTEN:
            short = shorten(groups[0], lambda some: self._measure(some, font, size) <= room)
            if len(short) > _FEWEST_LETTERS:
                self._warnings.append(LabelWarning(f"{text.key} of style {self._style} is shortened", "a wider box"))
                return size, (short,)
        raise InputError(
            f"{text.key} is {self._width(groups, font, size):.1f} mm wide at {SMALLEST:g} pt, and has {room:.1f} mm",
            where=f"{self._label.serial}, style {self._style}",
            hint="a larger label, a wider box, or less text beside it",
            cause="label-text",
        )

    def _sizes(self, largest: float) -> Iterator[float]:
        """Yield the sizes to try, in points: whole dots on a printer, quarters of a point elsewhere."""
        step = _STEP if self._dot is None else self._dot / MM
        count = int((largest - SMALLEST) / step + 1e-6) if largest > SMALLEST else 0
        yield from (largest - step * number for number in range(count + 1))

    def _width(self, groups: tuple[str, ...], font: LabelFont, size: float) -> float:
        gaps = (len(groups) - 1) * GROUP_GAP * size * MM
        return sum(self._measure(group, font, size) for group in groups) + gaps

    def _size(self, size: float) -> float:
        return size if self._dot is None else pixels_of(size, self._dot) * self._dot / MM

    def _snap(self, position: float) -> float:
        return position if self._dot is None else round(position / self._dot) * self._dot

    def _barcode(self, style: StyleBarcode, places: dict[FlowItem, Box]) -> DrawnBarcode:
        box = style.box or places[style]
        barcode = make_barcode(style.kind, self._label.serial)
        quiet = barcode.quiet_zone
        room = box.width / (barcode.columns + 2 * quiet)
        if barcode.rows > 1:
            room = min(room, box.height / (barcode.rows + (2 * quiet if style.box is not None else 0)))
        module = room if self._dot is None else int(room / self._dot + 1e-6) * self._dot
        judge_barcode(self._label, self._style, barcode, module, self._dot)
        high = module if barcode.rows > 1 else self._snap(box.height)
        x = box.x + quiet * module + (box.width - module * (barcode.columns + 2 * quiet)) * style.align.share
        if style.box is None and style.align is Align.LEFT:  # the white beside the flow is a part of the quiet zone
            x -= min(quiet * module, self._style.gap, self._style.margin)
        y = box.y + (box.height - high * barcode.rows) / 2
        return DrawnBarcode(barcode, self._snap(x), self._snap(y), module, high)

    def _logo(self, style: StyleLogo, places: dict[FlowItem, Box]) -> DrawnLogo:
        box = style.box or places[style]
        logo = Logo(style.data, style.method)
        height = min(box.height, box.width / logo.proportion)
        least = self._dot or 0.0
        width, height = max(least, self._snap(height * logo.proportion)), max(least, self._snap(height))
        x, y = box.x + (box.width - width) * style.align.share, box.y + (box.height - height) / 2
        return DrawnLogo(logo, self._snap(x), self._snap(y), width, height)
