"""The geometry of a style: where the QR code stands, and the place of each item that flows. Pure computation, in mm.

The quiet zone of the code may reach into the margin, which is white as well; its dark modules may not. On a round
label the corners of the quiet zone stay on the label.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from rmfab.label.layout import Box
from rmfab.label.style import (
    CodePosition,
    LabelStyle,
    Shape,
    StyleBarcode,
    StyleCode,
    StyleLogo,
    StyleText,
    VerticalAlign,
)
from rmfab.label.text import MM
from rmfab.label.typeface import CAP_HEIGHT

FlowItem = StyleLogo | StyleText | StyleBarcode

_LEADING = 0.52
"""White between two lines, relative to the size of the lower one."""
_DESCENT = 0.24
_BETWEEN = 0.8
"""White between a text and a logo or barcode, in mm."""
_RESERVED_QUIET = 4 / 53
"""The quiet zone of a usual code, relative to its side with the quiet zone: checks without a unit reserve so much."""
_LOWEST_LINE = 0.86
"""Where a text on a round label ends at most, relative to its radius: there it is still half as wide as the label."""
_NARROWEST = 3.0
_TOLERANCE = 0.005
_PRECISION = 0.001


@dataclass(frozen=True)
class CodePlace:
    """The place of the QR code: the square with the quiet zone, and the width of that zone."""

    x: float
    y: float
    side: float
    quiet: float

    @property
    def box(self) -> Box:
        """The square with the quiet zone."""
        return Box(self.x, self.y, self.side, self.side)


def height_of(item: FlowItem) -> float:
    """Return the height of *item* in the flow. That of a text is the height of its capitals."""
    return item.size * CAP_HEIGHT * MM if isinstance(item, StyleText) else item.height


def flow_heights(items: Sequence[FlowItem]) -> list[tuple[float, float]]:
    """Return the white above each item, and its height."""
    found: list[tuple[float, float]] = []
    for above, item in zip((None, *items), items, strict=False):
        space = 0.0 if isinstance(item, StyleLogo) else item.space
        if above is not None:
            lines = isinstance(item, StyleText) and isinstance(above, StyleText)
            space += item.size * _LEADING * MM if lines and isinstance(item, StyleText) else _BETWEEN
        found.append((space if above is not None else 0.0, height_of(item)))
    return found


def flow_height(items: Sequence[FlowItem]) -> float:
    """Return the height of all items."""
    return sum(space + height for space, height in flow_heights(items))


def largest_code(style: LabelStyle, items: Sequence[FlowItem]) -> float:
    """Return the side of the largest square for the QR code and its quiet zone beside or above *items*."""
    code = style.qr
    if code is None:
        return 0.0
    if code.box is not None:
        return min(code.box.width, code.box.height)
    if style.shape is Shape.ROUND:
        most = _largest_on_round(style, items)
    else:
        most = _largest_on_rectangle(style, items, beside=code.position.beside)
    return min(most, code.side or most)


def _largest_on_rectangle(style: LabelStyle, items: Sequence[FlowItem], *, beside: bool) -> float:
    width, height = style.width, style.height
    most = min(width, height, (min(width, height) - 2 * style.margin) / (1 - 2 * _RESERVED_QUIET))
    if not items:
        return most
    if beside:
        return min(most, width / 2)
    room = height - style.margin - flow_height(items)

    def fits(side: float) -> bool:
        quiet = side * _RESERVED_QUIET
        return max(0.0, style.margin - quiet) + side + max(0.0, style.gap - quiet) <= room

    return _largest(fits, most)


def _largest_on_round(style: LabelStyle, items: Sequence[FlowItem]) -> float:
    """Return the largest side: the code moves up to the edge, and the items end above the lowest line."""
    radius = style.width / 2
    lowest = radius + _LOWEST_LINE * (radius - style.margin)

    def fits(side: float) -> bool:
        quiet = side * _RESERVED_QUIET
        top = _highest_on_round(style, side, quiet)
        end = top + side + max(0.0, style.gap - quiet) + flow_height(items)
        return end <= (lowest if items else 2 * radius - top)

    return _largest(fits, style.width)


def _largest(fits: Callable[[float], bool], most: float) -> float:
    """Return the largest length up to *most* that fits, by bisection to a thousandth of a millimetre."""
    if fits(most):
        return most
    low, high = 0.0, most
    while high - low > _PRECISION:
        side = (low + high) / 2
        low, high = (side, high) if fits(side) else (low, side)
    return low


def _highest_on_round(style: LabelStyle, side: float, quiet: float) -> float:
    """Return the highest top of a centred square: its corners stay on the label, its dark ones inside the margin."""
    radius = style.width / 2
    outer = radius - _half_chord(radius, side / 2)
    inner = radius - _half_chord(radius - style.margin, side / 2 - quiet) - quiet
    return max(outer, inner)


def _half_chord(radius: float, distance: float) -> float:
    return math.sqrt(max(0.0, radius**2 - distance**2))


def place_code(style: LabelStyle, code: StyleCode, items: Sequence[FlowItem], side: float, quiet: float) -> CodePlace:
    """Return the place of a code of *side* mm, with a quiet zone of *quiet* mm, so that it balances with *items*."""
    across, down = (style.width - side) / 2, (style.height - side) / 2
    if code.box is not None:
        box = code.box
        return CodePlace(box.x + (box.width - side) * code.align.share, box.y + (box.height - side) / 2, side, quiet)
    if style.only_code:
        return CodePlace(across, down, side, quiet)
    near = max(0.0, style.margin - quiet)
    if code.position.beside:
        left = near if code.position is CodePosition.LEFT else style.width - side - near
        return CodePlace(left, down, side, quiet)
    top = _top(style, items, side, quiet, near)
    return CodePlace(across, top if code.position is CodePosition.TOP else style.height - side - top, side, quiet)


def _top(style: LabelStyle, items: Sequence[FlowItem], side: float, quiet: float, near: float) -> float:
    """Return the top of a code above *items*: the white above the code is that below the items."""
    whole = side + max(0.0, style.gap - quiet) + flow_height(items)
    if style.shape is Shape.ROUND:
        return max(_highest_on_round(style, side, quiet), (style.height - whole - quiet) / 2)
    if not items:
        return near
    spare = max(0.0, style.height - style.margin - near - whole) * style.valign.share
    uneven = (near + quiet - style.margin) / 2 if style.valign is VerticalAlign.MIDDLE else 0.0
    return near + max(0.0, spare - uneven)


def flow_area(style: LabelStyle, place: CodePlace | None) -> Box:
    """Return the rectangle for what flows: that of the style, else what the code leaves of it inside the margins."""
    if style.flow is not None:
        return style.flow
    inner = Box(style.margin, style.margin, style.width - 2 * style.margin, style.height - 2 * style.margin)
    if place is None or style.qr is None:
        return inner
    white = max(0.0, style.gap - place.quiet)
    right, bottom = inner.x + inner.width, inner.y + inner.height
    left_of, above = place.x - white, place.y - white
    right_of, below = place.x + place.side + white, place.y + place.side + white
    areas = {
        CodePosition.RIGHT: Box(inner.x, inner.y, left_of - inner.x, inner.height),
        CodePosition.BOTTOM: Box(inner.x, inner.y, inner.width, above - inner.y),
        CodePosition.LEFT: Box(right_of, inner.y, right - right_of, inner.height),
        CodePosition.TOP: Box(inner.x, below, inner.width, bottom - below),
    }
    if style.qr.box is None:
        return areas[style.qr.position]
    return max(areas.values(), key=lambda area: max(area.width, 0) * max(area.height, 0))


def stack(style: LabelStyle, items: Sequence[FlowItem], area: Box) -> list[Box]:
    """Return the place of each of *items* in *area*, one below the other."""
    spare = area.height - flow_height(items)
    y = area.y + max(0.0, spare) * style.valign.share
    if style.flow is None and style.qr is not None and style.qr.box is None and not style.qr.position.beside:
        y = area.y if style.qr.position is CodePosition.TOP else area.y + spare
    places = []
    for space, height in flow_heights(items):
        y += space
        places.append(_across(style, area, y, height))
        y += height
    return places


def _across(style: LabelStyle, area: Box, y: float, height: float) -> Box:
    """Return the place of an item at *y*: as wide as the area, on a round label as wide as the label is there."""
    if style.shape is Shape.RECTANGLE:
        return Box(area.x, y, area.width, height)
    radius = style.width / 2
    half = _half_chord(radius - style.margin, max(abs(y - radius), abs(y + height - radius)))
    left, right = max(area.x, radius - half), min(area.x + area.width, radius + half)
    return Box(left, y, max(0.0, right - left), height)


def judge_geometry(style: LabelStyle) -> Iterator[tuple[str, str, str | None]]:
    """Yield what is wrong with the places of a style: key, complaint and hint."""
    side = largest_code(style, style.flowing)
    code = style.qr
    place = place_code(style, code, style.flowing, side, side * _RESERVED_QUIET) if code is not None else None
    if place is not None and side < _NARROWEST:
        yield "[qr]", f"{side:.1f} mm are left for the QR code", "a larger label, or less text"
        return
    places = list(_places(style, place))
    for key, box in places:
        yield from _outside(style, key, box)
    for (one, left), (other, right) in combinations(places, 2):
        if _overlap(left, right):
            boxed, still = (other, one) if _has_box(style, other) else (one, other)
            yield f"{boxed} box", f"overlaps {still}", _MOVE
    area = flow_area(style, place)
    needed = flow_height(style.flowing)
    if style.flowing and needed > area.height + _TOLERANCE:
        what = f"what flows is {needed:.1f} mm high, {max(0.0, area.height):.1f} mm are left for it"
        yield _flow_key(style), what, "smaller type, fewer texts, or a box for some of them"
    elif style.flowing and min(box.width for box in stack(style, style.flowing, area)) < _NARROWEST:
        yield _flow_key(style), "no room is left for what flows", "a smaller [qr] side, or a box for the texts"


_MOVE = "move one of them: box = [left, top, width, height] in mm"


def _places(style: LabelStyle, place: CodePlace | None) -> Iterator[tuple[str, Box]]:
    """Yield the key and the place of everything on the label."""
    if place is not None and style.qr is not None:
        yield "[qr]", style.qr.box or place.box
    boxed = [item for item in (style.logo, *style.texts, style.barcode) if item is not None and item.box is not None]
    for item in boxed:
        if item.box is not None:
            yield key_of(item), item.box
    area = flow_area(style, place)
    for item, box in zip(style.flowing, stack(style, style.flowing, area), strict=True):
        descent = item.size * _DESCENT * MM if isinstance(item, StyleText) else 0.0
        yield key_of(item), Box(box.x, box.y, box.width, box.height + (descent if boxed else 0.0))


def key_of(item: FlowItem) -> str:
    """Return the name of an item in complaints."""
    if isinstance(item, StyleText):
        return item.key
    return "[logo]" if isinstance(item, StyleLogo) else "[barcode]"


def _has_box(style: LabelStyle, key: str) -> bool:
    if key == "[qr]":
        return style.qr is not None and style.qr.box is not None
    items = (style.logo, *style.texts, style.barcode)
    return any(item is not None and item.box is not None and key_of(item) == key for item in items)


def _outside(style: LabelStyle, key: str, box: Box) -> Iterator[tuple[str, str, str | None]]:
    right, bottom = box.x + box.width, box.y + box.height
    shape = f"{style.width:g} x {style.height:g} mm"
    if not _has_box(style, key):
        return  # what flows is judged as a whole
    if right > style.width + _TOLERANCE or bottom > style.height + _TOLERANCE:
        yield f"{key} box", f"reaches to {right:g}, {bottom:g} mm on a label of {shape}", _MOVE
    elif style.shape is Shape.ROUND:
        radius = style.width / 2
        far = max(math.hypot(x - radius, y - radius) for x in (box.x, right) for y in (box.y, bottom))
        if far > radius + _TOLERANCE:
            yield f"{key} box", f"a corner is {far - radius:.1f} mm outside the round label", _MOVE


def _overlap(one: Box, other: Box) -> bool:
    across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    return across > _TOLERANCE and down > _TOLERANCE


def _flow_key(style: LabelStyle) -> str:
    return "[label] flow" if style.flow is not None else "[label] size"
