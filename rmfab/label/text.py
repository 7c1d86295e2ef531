"""The text of a label set into a rectangle: product, serial, service name and PoP in a clear order.

The largest type that fits is chosen, with as many captions and lines as there is room for at 5 pt or more. Sizes are in
points (1/72 inch), positions in mm. All labels of a batch come out in the same size, because digits and hexadecimal
letters are measured as equally wide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, unique
from itertools import product as combinations

from rmfab.label.typeface import CAP_HEIGHT, Face, is_writable, shorten, steady, width_of, writable
from rmfab.secret import Secret

MM = 25.4 / 72
"""One point in mm."""
SMALLEST = 5.0
LARGEST = 9.0
_STEP = 0.25
_PITCH = 1.28
_HEAD_GAP = 0.25
_CAPTION = 0.8
_CAPTION_GAP = 0.45
_GROUP = 4
_GROUP_GAP = 0.3
_FEWEST_LETTERS = 5


@unique
class Field(Enum):
    """A line of the label, with its caption, typeface and size relative to the body."""

    PRODUCT = "product", "", Face.BOLD, 1.2
    SERIAL = "serial", "SN", Face.REGULAR, 1.0
    NAME = "service name", "Name", Face.REGULAR, 1.0
    POP = "PoP", "PoP", Face.MONO, 1.1

    caption: str
    face: Face
    scale: float

    def __new__(cls, value: str, caption: str, face: Face, scale: float) -> Field:
        member = object.__new__(cls)
        member._value_ = value
        member.caption = caption
        member.face = face
        member.scale = scale
        return member


@unique
class Captions(Enum):
    """Which lines say what they are, with the smallest body that allows it."""

    ALL = (Field.SERIAL, Field.NAME, Field.POP), 6.5
    POP = (Field.POP,), 6.25
    NONE = (), SMALLEST

    @property
    def fields(self) -> tuple[Field, ...]:
        """The lines that have a caption."""
        return self.value[0]

    @property
    def smallest(self) -> float:
        """The smallest body in points."""
        return self.value[1]


_WHOLE = (Field.SERIAL, Field.POP)
_CHOICES: tuple[tuple[Field, ...], ...] = (
    (Field.PRODUCT, Field.SERIAL, Field.NAME, Field.POP),
    (Field.SERIAL, Field.NAME, Field.POP),
    (Field.PRODUCT, Field.NAME, Field.POP),
    (Field.NAME, Field.POP),
    (Field.SERIAL, Field.POP),
    (Field.POP,),
    (Field.PRODUCT, Field.SERIAL),
    (Field.SERIAL,),
)


@dataclass(frozen=True)
class Run:
    """Letters in one typeface: left end and baseline in mm, size in points. The letters may be secret."""

    field: Field
    text: str = field(repr=False)
    x: float
    baseline: float
    face: Face
    size: float

    def moved(self, x: float, y: float) -> Run:
        """The same run, so many mm further right and down."""
        return replace(self, x=self.x + x, baseline=self.baseline + y)


@dataclass(frozen=True)
class TextBlock:
    """Set text, from the top of its first capitals to its last baseline: *height* in mm."""

    runs: tuple[Run, ...]
    height: float
    omitted: tuple[Field, ...]
    shortened: tuple[Field, ...]


@dataclass(frozen=True)
class _Plan:
    texts: dict[Field, str]
    captions: Captions
    body: float
    width: float
    centred: bool


def set_text(
    product: str, serial: str, name: str, pop: Secret[str], width: float, height: float, centred: bool = False
) -> TextBlock:
    """Sets the four fields into *width* x *height* mm, flush left or *centred*. An empty field is no field."""
    wanted = {Field.PRODUCT: product, Field.SERIAL: serial, Field.NAME: name, Field.POP: pop.reveal()}
    texts = {field: _letters(field, text) for field, text in wanted.items()}
    plan = _choose(texts, width / MM, height / MM, centred)
    kept = plan.texts if plan else {}
    omitted = tuple(field for field, text in wanted.items() if text and field not in kept)
    if plan is None:
        return TextBlock((), 0.0, omitted, ())
    runs, shortened = _set(plan)
    return TextBlock(tuple(runs), _height(tuple(kept), plan.body) * MM, omitted, shortened)


def _letters(field: Field, text: str) -> str:
    """What can be written of a field: a product name as near as possible, the others exactly or not at all."""
    if field is Field.PRODUCT:
        return writable(text)
    return text if is_writable(text) else ""


def _choose(texts: dict[Field, str], width: float, height: float, centred: bool) -> _Plan | None:
    """The first choice of lines and captions that fits; lines count more than captions, whole names more than both."""
    present = {field for field, text in texts.items() if text}
    for choice, name_whole, captions in _candidates(centred):
        fields = tuple(field for field in choice if field in present)
        whole = (*_WHOLE, Field.NAME) if name_whole else _WHOLE
        kept = {field: texts[field] for field in fields}
        if not fields:
            continue
        body = _body(kept, whole, captions, width, height)
        if body >= captions.smallest and _legible(kept, captions, body, width):
            return _Plan(kept, captions, body, width, centred)
    return None


def _candidates(centred: bool) -> Iterator[tuple[tuple[Field, ...], bool, Captions]]:
    captions = (Captions.POP, Captions.NONE) if centred else tuple(Captions)
    for choice in _CHOICES:
        yield from combinations((choice,), (True, False), captions)


def _body(texts: dict[Field, str], whole: Sequence[Field], captions: Captions, width: float, height: float) -> float:
    """The largest body size in points at which every line of *whole* and all lines' height fit."""
    indent = _indent(captions)
    sizes = [LARGEST, height / _height(tuple(texts), 1.0)]
    for each, text in texts.items():
        if each in whole:
            sizes.append(width / (_indent_of(each, captions, indent) + _width(each, steady(text)) * each.scale))
    return int(min(sizes) / _STEP) * _STEP


def _legible(texts: dict[Field, str], captions: Captions, body: float, width: float) -> bool:
    """Whether lines that may be shortened keep some letters."""
    indent = _indent(captions)
    return all(
        len(shorten(text, each.face, (width / body - _indent_of(each, captions, indent)) / each.scale))
        >= min(_FEWEST_LETTERS, len(text))
        for each, text in texts.items()
    )


def _height(fields: Sequence[Field], body: float) -> float:
    """From the top of the first capitals to the last baseline, in the unit of *body*."""
    gap = _HEAD_GAP if Field.PRODUCT in fields and len(fields) > 1 else 0.0
    return (CAP_HEIGHT * fields[0].scale + gap + sum(_PITCH for _ in fields[1:])) * body


def _indent(captions: Captions) -> float:
    return max((width_of(each.caption, Face.REGULAR, _CAPTION) for each in captions.fields), default=0.0)


def _indent_of(each: Field, captions: Captions, indent: float) -> float:
    return indent + _CAPTION_GAP if each in captions.fields else 0.0


def _groups(each: Field, text: str) -> tuple[str, ...]:
    """A PoP of letters and digits in groups of four, which a thin gap that is no space keeps apart."""
    if each is not Field.POP or not text.isalnum() or len(text) <= _GROUP:
        return (text,)
    return tuple(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def _width(each: Field, text: str) -> float:
    groups = _groups(each, text)
    return sum(width_of(group, each.face) for group in groups) + (len(groups) - 1) * _GROUP_GAP


def _set(plan: _Plan) -> tuple[list[Run], tuple[Field, ...]]:
    """The runs of every line from the top, and the fields that had to be shortened."""
    runs: list[Run] = []
    shortened: list[Field] = []
    baseline = 0.0
    for each, text in plan.texts.items():
        first = not runs
        baseline += CAP_HEIGHT * each.scale if first else _PITCH
        short = _shortened(plan, each, text)
        if short != text:
            shortened.append(each)
        runs += _line(plan, each, short, baseline)
        baseline += _HEAD_GAP if each is Field.PRODUCT else 0.0
    return [_scaled(run, plan.body) for run in runs], tuple(shortened)


def _shortened(plan: _Plan, each: Field, text: str) -> str:
    indent = _indent_of(each, plan.captions, _indent(plan.captions))
    return text if each in _WHOLE else shorten(text, each.face, (plan.width / plan.body - indent) / each.scale)


def _line(plan: _Plan, each: Field, text: str, baseline: float) -> Iterator[Run]:
    """One line in units of the body, flush left or centred."""
    indent = _indent_of(each, plan.captions, _indent(plan.captions))
    spare = plan.width / plan.body - indent - _width(each, text) * each.scale
    x = max(0.0, spare / 2) if plan.centred else 0.0
    if indent:
        yield Run(each, each.caption, x, baseline, Face.REGULAR, _CAPTION)
        x += indent
    for group in _groups(each, text):
        yield Run(each, group, x, baseline, each.face, each.scale)
        x += (width_of(group, each.face) + _GROUP_GAP) * each.scale


def _scaled(run: Run, body: float) -> Run:
    return replace(run, x=run.x * body * MM, baseline=run.baseline * body * MM, size=round(run.size * body, 2))
