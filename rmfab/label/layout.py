"""Where everything on one label goes: the code with its quiet zone and four lines of text, in millimetres.

Pure judgement over sizes. A wide label has the code on its left and the text on its right, a square or tall one the
code above the text, a tiny one the code and what fits. Text is never smaller than 5 pt; product and service name are
shortened where they must be, serial and PoP stand whole or not at all, and the layout says what it left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rmfab.errors import InputError
from rmfab.label.content import Label
from rmfab.label.symbol import QUIET_ZONE, Level, Symbol, encode, side_of
from rmfab.label.text import LabelField, Run, TextBlock, set_text
from rmfab.secret import Secret

PHONE_SAFE = 0.33
"""Side of a module in mm that every phone reads; a label that has room for it gets level M or better."""
SMALL = 0.30
TOO_SMALL = 0.20
_LARGEST_CODE = 30.0
_SMALLEST_CODE = 12.0
_WIDE = 1.5
_CODE_SHARE = 0.64
_GAP = 0.3
COMPACT_HINT = (
    'set qr = "compact" in [provisioning] (the firmware must offer the same: CONFIG_APP_NETWORK_PROV_COMPACT_QR), '
    "or choose a sheet with larger labels"
)
LARGER_HINT = "choose a sheet with larger labels"


@dataclass(frozen=True)
class Layout:
    """The places on a label of *width* x *height* mm, from its top left corner.

    *code* is the corner of the symbol's first module, inside the quiet zone; *module* the side of one module in mm.
    *omitted* names the fields that the label has no room or no letters for, *shortened* those with an ellipsis.
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
    """Everything that is drawn on one label."""

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
    """The drawing of *label* on *width* x *height* mm; with *dot* every module is a whole number of dots of so many mm.

    Raises InputError where a module would be under 0.20 mm.
    """
    level = _level(label.payload, code_side(width, height), dot)
    layout = lay_out(label, side_of(label.payload, level), width, height, dot)
    return Artwork(layout, encode(label.payload, level))


def lay_out(label: Label, modules: int, width: float, height: float, dot: float | None = None) -> Layout:
    """Judges where a symbol of *modules* a side and the text go; without room for text the code takes all there is.

    Raises InputError where a module would be under 0.20 mm.
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
    """The side in mm of the square that a label gives its code, quiet zone included."""
    if width >= _WIDE * height:
        return min(height, max(width / 2, _SMALLEST_CODE), _LARGEST_CODE)
    return min(width, max(height * _CODE_SHARE, min(height, _SMALLEST_CODE)), _LARGEST_CODE)


def small_module(label: Label, layout: Layout) -> tuple[str, str] | None:
    """What to warn of, and how to mend it, where the modules of *layout* are under 0.30 mm; None where all is well."""
    if round(layout.module, 3) >= SMALL:
        return None
    what = f"the code has modules of {layout.module:.2f} mm, which many phones do not read; 0.33 mm is safe"
    return what, _hint(label)


def _level(payload: Secret[str], side: float, dot: float | None) -> Level:
    """M where its modules are still safe for phones, else L, whose symbol may be smaller."""
    return Level.M if _module(side, side_of(payload, Level.M), dot) >= PHONE_SAFE else Level.L


def _module(side: float, modules: int, dot: float | None) -> float:
    """The side of a module in mm where the symbol and its quiet zone fill *side*."""
    module = side / (modules + 2 * QUIET_ZONE)
    return module if dot is None else int(module / dot + 1e-6) * dot


def _snap(position: float, dot: float | None) -> float:
    return position if dot is None else round(position / dot) * dot


def _refuse_too_small(label: Label, module: float, width: float, height: float) -> None:
    if module < TOO_SMALL:
        raise InputError(
            f"a label of {width:g} x {height:g} mm leaves {module:.2f} mm for a module of the code; "
            f"under {TOO_SMALL:.2f} mm no phone reads it",
            where=label.serial,
            hint=_hint(label),
            cause="code-too-small",
        )


def _hint(label: Label) -> str:
    return COMPACT_HINT if label.payload.reveal().startswith("{") else LARGER_HINT


def _margin(width: float, height: float) -> float:
    return max(0.8, min(2.5, 0.05 * min(width, height)))


def _beside(side: float, width: float, height: float, dark: float) -> Box:
    """Right of the code, no higher than its dark modules, so that text and code line up."""
    left = side + _left(side, height)
    return Box(left, (height - dark) / 2, width - left - _margin(width, height), dark)


def _below(side: float, width: float, height: float) -> Box:
    margin = _margin(width, height)
    return Box(margin, side + _GAP, width - 2 * margin, height - side - _GAP - margin)


def _left(side: float, height: float) -> float:
    return min((height - side) / 2, 2.0)


def _corner(side: float, text: TextBlock, beside: bool, width: float, height: float) -> tuple[float, float]:
    """The corner of the code's square: in the middle where it stands alone, else where it and the text balance."""
    if not text.runs:
        return (width - side) / 2, (height - side) / 2
    if beside:
        return _left(side, height), (height - side) / 2
    return (width - side) / 2, max(0.0, (height - side - _GAP - text.height - _margin(width, height)) / 2)
