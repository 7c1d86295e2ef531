"""The layout of one label: the QR code with its quiet zone and four lines of text, in millimetres.

Pure computation. A wide label has the code on the left and the text on the right; a square or tall one has the code
above the text; a tiny one has the code and the lines that fit. Text is 5 pt or larger. Product and service name are
shortened if they must be; serial and PoP are printed in full or omitted. The layout lists what it omitted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rmfab.errors import InputError
from rmfab.label.content import Label
from rmfab.label.symbol import QUIET_ZONE, Level, Symbol, encode, side_of
from rmfab.label.text import LabelField, Run, TextBlock, set_text
from rmfab.secret import Secret

PHONE_SAFE = 0.33
"""Module size in mm that every phone reads. A label with room for it gets error correction level M or better."""
SMALL = 0.30
TOO_SMALL = 0.20
_LARGEST_CODE = 30.0
_SMALLEST_CODE = 12.0
_WIDE = 1.5
_CODE_SHARE = 0.64
_GAP = 0.3
COMPACT_HINT = (
    'set qr = "compact" in [provisioning] (the firmware must offer the same: CONFIG_APP_NETWORK_PROV_COMPACT_QR), '
    "or choose larger labels"
)
LARGER_HINT = "choose larger labels"


@dataclass(frozen=True)
class Layout:
    """The positions on a label of *width* x *height* mm, from its top left corner.

    *code* is the top left corner of the symbol, inside the quiet zone. *module* is the side of one module in mm.
    *omitted* are the fields without room or glyphs, *shortened* those with an ellipsis.
    """

    width: float
    height: float
    code: tuple[float, float]
    module: float
    runs: tuple[Run, ...]
    omitted: tuple[LabelField, ...] = ()
    shortened: tuple[LabelField, ...] = ()


@dataclass(frozen=True)
class Artwork:
    """The drawing of one label."""

    layout: Layout
    symbol: Symbol = field(repr=False)


@dataclass(frozen=True)
class Box:
    """A rectangle in mm from the label's top left corner."""

    x: float
    y: float
    width: float
    height: float


def make_artwork(label: Label, width: float, height: float, dot: float | None = None) -> Artwork:
    """Return the drawing of *label* on *width* x *height* mm.

    With *dot*, the size of a dot in mm, each module is a whole number of dots. Raise InputError if a module would be
    smaller than 0.20 mm.
    """
    level = _level(label.payload, code_side(width, height), dot)
    layout = lay_out(label, side_of(label.payload, level), width, height, dot)
    return Artwork(layout, encode(label.payload, level))


def lay_out(label: Label, modules: int, width: float, height: float, dot: float | None = None) -> Layout:
    """Return the layout of a symbol of *modules* per side and the text. If no text fits, the code gets the whole label.

    Raise InputError if a module would be smaller than 0.20 mm.
    """
    side = code_side(width, height)
    beside = width >= _WIDE * height
    dark = _module(side, modules, dot) * modules
    area = _beside(side, width, height, dark) if beside else _below(side, width, height)
    text = set_text(label.texts(), area.width, area.height, centred=not beside)
    if not text.runs:
        side = min(width, height, _LARGEST_CODE)
    module = _module(side, modules, dot)
    _refuse_too_small(label, module, width, height)
    corner = _corner(side, text, beside, width, height)
    top = (height - text.height) / 2 if beside else corner[1] + side + _GAP
    inset = (side - module * modules) / 2
    return Layout(
        width,
        height,
        (_snap(corner[0] + inset, dot), _snap(corner[1] + inset, dot)),
        module,
        tuple(run.moved(area.x, top) for run in text.runs),
        text.omitted,
        text.shortened,
    )


def code_side(width: float, height: float) -> float:
    """Return the side in mm of the square for the code, including the quiet zone."""
    if width >= _WIDE * height:
        return min(height, max(width / 2, _SMALLEST_CODE), _LARGEST_CODE)
    return min(width, max(height * _CODE_SHARE, min(height, _SMALLEST_CODE)), _LARGEST_CODE)


def small_module(label: Label, layout: Layout) -> tuple[str, str] | None:
    """Return a warning and a hint if the modules of *layout* are smaller than 0.30 mm, else None."""
    if round(layout.module, 3) >= SMALL:
        return None
    what = f"the QR code has modules of {layout.module:.2f} mm, small for some phones (0.33 mm is safe)"
    return what, _hint(label)


def _level(payload: Secret[str], side: float, dot: float | None) -> Level:
    """Return M if its modules are still safe for phones, else L: its symbol may have fewer, larger modules."""
    return Level.M if _module(side, side_of(payload, Level.M), dot) >= PHONE_SAFE else Level.L


def _module(side: float, modules: int, dot: float | None) -> float:
    """Return the side of a module in mm, so that the symbol and its quiet zone fill *side*."""
    module = side / (modules + 2 * QUIET_ZONE)
    return module if dot is None else int(module / dot + 1e-6) * dot


def _snap(position: float, dot: float | None) -> float:
    return position if dot is None else round(position / dot) * dot


def _refuse_too_small(label: Label, module: float, width: float, height: float) -> None:
    if module < TOO_SMALL:
        raise InputError(
            f"label of {width:g} x {height:g} mm is too small: modules of the code would have {module:.2f} mm, "
            f"phones need {TOO_SMALL:.2f} mm",
            where=label.serial,
            hint=_hint(label),
            cause="code-too-small",
        )


def _hint(label: Label) -> str:
    return COMPACT_HINT if label.payload.reveal().startswith("{") else LARGER_HINT


def _margin(width: float, height: float) -> float:
    return max(0.8, min(2.5, 0.05 * min(width, height)))


def _beside(side: float, width: float, height: float, dark: float) -> Box:
    """Return the text area on the right of the code, as high as its dark modules, so that text and code line up."""
    left = side + _left(side, height)
    return Box(left, (height - dark) / 2, width - left - _margin(width, height), dark)


def _below(side: float, width: float, height: float) -> Box:
    margin = _margin(width, height)
    return Box(margin, side + _GAP, width - 2 * margin, height - side - _GAP - margin)


def _left(side: float, height: float) -> float:
    return min((height - side) / 2, 2.0)


def _corner(side: float, text: TextBlock, beside: bool, width: float, height: float) -> tuple[float, float]:
    """Return the corner of the code's square: centred if there is no text, else balanced with the text."""
    if not text.runs:
        return (width - side) / 2, (height - side) / 2
    if beside:
        return _left(side, height), (height - side) / 2
    return (width - side) / 2, max(0.0, (height - side - _GAP - text.height - _margin(width, height)) / 2)
