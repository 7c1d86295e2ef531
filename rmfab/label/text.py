"""The typesetting of a label's text in a rectangle: product, serial, service name and PoP, in this order.

The largest type that fits is chosen, with as many lines and captions as fit at 5 pt or more. Sizes are in points
(1/72 inch), positions in mm. All labels of a batch look alike, because digits and hexadecimal letters are measured as
equally wide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, unique
from itertools import product as combinations
from typing import Self

from rmfab.label.typeface import CAP_HEIGHT, Face, is_writable, shorten, steady, width_of, writable
from rmfab.secret import Secret

MM = 25.4 / 72
"""One point in mm."""
SMALLEST = 5.0
LARGEST = 11.0
_STEP = 0.25
_CAPTION_GAP = 0.4
_GROUP = 4
GROUP_GAP = 0.3
"""The gap between groups of a PoP, relative to the size."""
_FEWEST_LETTERS = 5


@unique
class LabelField(Enum):
    """A line of the label, with its caption, typeface and size relative to the body."""

    PRODUCT = "product", "", Face.PRODUCT, 1.2
    SERIAL = "serial", "SN", Face.REGULAR, 1.0
    NAME = "service name", "Name", Face.REGULAR, 1.0
    POP = "PoP", "PoP", Face.BOLD, 1.1

    caption: str
    face: Face
    scale: float

    def __new__(cls, value: str, caption: str, face: Face, scale: float) -> Self:
        member = object.__new__(cls)
        member._value_ = value
        member.caption = caption
        member.face = face
        member.scale = scale
        return member


@dataclass(frozen=True)
class Run:
    """Text in one typeface: left end and baseline in mm, size in points. The text may be secret."""

    line: LabelField
    text: str = field(repr=False)
    x: float
    baseline: float
    face: Face
    size: float

    def moved(self, x: float, y: float) -> Run:
        """Return the run moved by *x* mm to the right and *y* mm down."""
        return replace(self, x=self.x + x, baseline=self.baseline + y)


@dataclass(frozen=True)
class TextBlock:
    """Typeset text. *height* in mm is from the top of the first capitals to the last baseline."""

    runs: tuple[Run, ...]
    height: float
    omitted: tuple[LabelField, ...]
    shortened: tuple[LabelField, ...]


@dataclass(frozen=True)
class Style:
    """A style of the lines: which have captions, and sizes relative to a body of at least *smallest* points."""

    captions: tuple[LabelField, ...]
    caption: float
    smallest: float
    pitch: float
    head: float
    head_gap: float

    @property
    def indent(self) -> float:
        """The indent of lines with captions."""
        widths = [width_of(each.caption, Face.REGULAR, self.caption) for each in self.captions]
        return max(widths) + _CAPTION_GAP if widths else 0.0

    def indent_of(self, each: LabelField) -> float:
        """Return the indent of a line."""
        return self.indent if each in self.captions else 0.0


_STYLES = (
    Style((LabelField.SERIAL, LabelField.NAME, LabelField.POP), 0.8, 6.5, pitch=1.3, head=1.2, head_gap=0.25),
    Style((LabelField.POP,), 0.8, 6.25, pitch=1.3, head=1.2, head_gap=0.25),
    Style((LabelField.POP,), 1.0, SMALLEST, pitch=1.12, head=1.0, head_gap=0.1),
    Style((), 1.0, SMALLEST, pitch=1.12, head=1.0, head_gap=0.1),
)
_CENTRED_STYLES = _STYLES[1:]
_UNCUT = (LabelField.SERIAL, LabelField.POP)
_CHOICES: tuple[tuple[LabelField, ...], ...] = (
    (LabelField.PRODUCT, LabelField.SERIAL, LabelField.NAME, LabelField.POP),
    (LabelField.SERIAL, LabelField.NAME, LabelField.POP),
    (LabelField.PRODUCT, LabelField.NAME, LabelField.POP),
    (LabelField.NAME, LabelField.POP),
    (LabelField.SERIAL, LabelField.POP),
    (LabelField.POP,),
    (LabelField.PRODUCT, LabelField.SERIAL),
    (LabelField.SERIAL,),
)


def set_text(texts: Mapping[LabelField, Secret[str]], width: float, height: float, centred: bool = False) -> TextBlock:
    """Typeset the fields in *width* x *height* mm, flush left or *centred*. Empty fields are ignored."""
    present = [each for each in LabelField if texts[each].reveal()]
    letters = {each: _letters(each, texts[each].reveal()) for each in present}
    draft = _choose(letters, width / MM, height / MM, centred)
    if draft is None:
        return TextBlock((), 0.0, tuple(present), ())
    runs = tuple(run for run in draft.runs() if run.text)
    omitted = tuple(each for each in present if each not in draft.texts)
    return TextBlock(runs, draft.height * draft.body * MM, omitted, draft.shortened())


@dataclass(frozen=True)
class _Draft:
    """Lines of one style at one size. *width* is in points, everything else in units of the body."""

    texts: Mapping[LabelField, str]
    style: Style
    width: float
    centred: bool = False
    body: float = 1.0

    @property
    def height(self) -> float:
        """The height from the top of the first capitals to the last baseline."""
        gap = self.style.head_gap if LabelField.PRODUCT in self.texts and len(self.texts) > 1 else 0.0
        return self._first() + gap + self.style.pitch * (len(self.texts) - 1)

    def widest(self, uncut: tuple[LabelField, ...]) -> float:
        """Return the width of the widest line that must not be shortened."""
        lines = [
            self.style.indent_of(each) + _width(each, steady(text)) * each.scale
            for each, text in self.texts.items()
            if each in uncut
        ]
        return max(lines, default=0.0)

    def scale(self, each: LabelField) -> float:
        """Return the size of a line. A product name becomes smaller, down to 5 pt, before it is shortened."""
        if each is not LabelField.PRODUCT:
            return each.scale
        fitting = self.width / self.body / width_of(self.texts[each], each.face)
        return max(SMALLEST / self.body, min(self.style.head, fitting * 0.999))

    def short(self, each: LabelField) -> str:
        """Return the text of a line, shortened with an ellipsis if it is too wide."""
        room = (self.width / self.body - self.style.indent_of(each)) / self.scale(each)
        if each in _UNCUT:
            return self.texts[each]
        return shorten(self.texts[each], lambda some: width_of(some, each.face) <= room)

    def shortened(self) -> tuple[LabelField, ...]:
        """Return the shortened fields."""
        return tuple(each for each, text in self.texts.items() if self.short(each) != text)

    def is_legible(self) -> bool:
        """Return whether every shortened line keeps some letters."""
        return all(len(self.short(each)) >= min(_FEWEST_LETTERS, len(text)) for each, text in self.texts.items())

    def runs(self) -> Iterator[Run]:
        """Yield the runs, in mm from the top left corner and points."""
        baseline = 0.0
        for each in self.texts:
            baseline = baseline + self.style.pitch if baseline else self._first()
            for run in self._line(each, self.short(each), baseline):
                x, y = run.x * self.body * MM, run.baseline * self.body * MM
                yield replace(run, x=x, baseline=y, size=round(run.size * self.body, 2))
            baseline += self.style.head_gap if each is LabelField.PRODUCT else 0.0

    def _first(self) -> float:
        """Return the first baseline. The capitals of the first line touch the top."""
        first = next(iter(self.texts))
        return CAP_HEIGHT * (self.style.head if first is LabelField.PRODUCT else first.scale)

    def _line(self, each: LabelField, text: str, baseline: float) -> Iterator[Run]:
        scale, indent = self.scale(each), self.style.indent_of(each)
        spare = self.width / self.body - indent - _width(each, text) * scale
        x = max(0.0, spare / 2) if self.centred else 0.0
        yield Run(each, each.caption if indent else "", x, baseline, Face.REGULAR, self.style.caption)
        x += indent
        for group in _groups(each, text):
            yield Run(each, group, x, baseline, each.face, scale)
            x += (width_of(group, each.face) + GROUP_GAP) * scale


def _letters(each: LabelField, text: str) -> str:
    """Return the printable text of a field: a product name with the nearest glyphs, the others unchanged or empty."""
    if each is LabelField.PRODUCT:
        return writable(text, each.face)
    return text if is_writable(text, each.face) else ""


def _choose(texts: Mapping[LabelField, str], width: float, height: float, centred: bool) -> _Draft | None:
    """Return the best draft that fits: prefer more lines, then names in full, then captions. Sizes are in points."""
    for choice, uncut, style in combinations(
        _CHOICES, ((*_UNCUT, LabelField.NAME), _UNCUT), _CENTRED_STYLES if centred else _STYLES
    ):
        kept = {each: texts[each] for each in choice if texts.get(each)}
        if not kept:
            continue
        draft = _Draft(kept, style, width, centred)
        limits = (LARGEST, height / draft.height, width / (draft.widest(uncut) or 1.0))
        draft = replace(draft, body=int(min(limits) / _STEP) * _STEP)
        if draft.body >= style.smallest and draft.is_legible():
            return draft
    return None


def _groups(each: LabelField, text: str) -> tuple[str, ...]:
    """Return an alphanumeric PoP in groups of four. They are printed with a thin gap, not a space."""
    return grouped(text) if each is LabelField.POP else (text,)


def grouped(pop: str) -> tuple[str, ...]:
    """Return a PoP in groups of four if it is alphanumeric, to be printed with a gap of GROUP_GAP."""
    if not pop.isalnum():
        return (pop,)
    return tuple(pop[start : start + _GROUP] for start in range(0, len(pop), _GROUP))


def _width(each: LabelField, text: str) -> float:
    groups = _groups(each, text)
    return sum(width_of(group, each.face) for group in groups) + (len(groups) - 1) * GROUP_GAP
