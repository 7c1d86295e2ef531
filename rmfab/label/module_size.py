"""The size of a code's modules: as many whole dots as fit, and the judgement whether phones and scanners read them.

A module of fewer than 3 dots or under 0.30 mm is a warning; fewer than 2 dots or under 0.20 mm is refused, with the
size that would do. Sources: Denso Wave (4 dots or more), ISO/IEC 18004; phones read 0.33 mm reliably.
"""

from __future__ import annotations

import math

from rmfab.errors import InputError
from rmfab.label.barcode import Barcode
from rmfab.label.content import Label
from rmfab.label.layout import PHONE_SAFE, SMALL, TOO_SMALL
from rmfab.label.style import LabelStyle, StyleCode
from rmfab.label.symbol import Level, side_of
from rmfab.label.warnings import LabelWarning
from rmfab.product.vocabulary import QrForm
from rmfab.secret import Secret

FEWEST_DOTS = 2
FEW_DOTS = 3
COMPACT_FORM = 'qr = "compact" in [provisioning], if the firmware offers the same (CONFIG_APP_NETWORK_PROV_COMPACT_QR)'
_NARROW_BAR = 0.19
"""mm. Scanners of a factory read bars of 7.5 mil."""


def module_in(room: tuple[float, float], modules: int, quiet_zone: int, dot: float | None) -> float:
    """Return the module in mm of a code of *modules* per side.

    *room*: the sides in mm for the code with its quiet zone, and for its dark modules.
    """
    module = min(room[0] / (modules + 2 * quiet_zone), room[1] / modules)
    return module if dot is None else int(module / dot + 1e-6) * dot


def choose_level(payload: Secret[str], code: StyleCode, room: tuple[float, float], dot: float | None) -> Level:
    """Return the level of the style; else M if its modules are safe for phones or not smaller than those of L, else L.

    The symbol has a better level if that does not make it larger.
    """
    if code.level is not None:
        return code.level
    strong = module_in(room, side_of(payload, Level.M), code.quiet_zone, dot)
    weak = module_in(room, side_of(payload, Level.L), code.quiet_zone, dot)
    return Level.M if strong >= min(PHONE_SAFE, weak) - 1e-9 else Level.L


def least_module(dot: float | None) -> float:
    """Return the smallest module in mm that is not refused."""
    return TOO_SMALL if dot is None else max(FEWEST_DOTS, math.ceil(TOO_SMALL / dot - 1e-6)) * dot


def judge_form(label: Label, style: LabelStyle, code: StyleCode) -> None:
    """Raise InputError if the style is made for a form of the payload that the product does not have."""
    form = QrForm.JSON if is_json(label) else QrForm.COMPACT
    if code.form is None or code.form is form:
        return
    if code.form is QrForm.COMPACT:
        raise InputError(
            "the style is made for the compact form of the QR code, the product has JSON",
            where=f"style {style}: [qr] form",
            hint=f"set {COMPACT_FORM}, or choose a larger style",
            cause="qr-form",
        )
    raise InputError(
        "the style is made for a QR code in JSON, the product has the compact form",
        where=f"style {style}: [qr] form",
        hint="remove form: a style without it prints what the product has",
        cause="qr-form",
    )


def judge_module(
    label: Label, quiet_zone: int, modules: int, module: float, dot: float | None, where: str
) -> LabelWarning | None:
    """Return a warning if the modules of the QR code are small. Raise InputError if they are too small."""
    if module < least_module(dot) - 1e-6:
        raise InputError(
            f"the QR code has no room: its modules would have {_in_dots(module, dot)}",
            where=where,
            hint=_what_would_do(label, quiet_zone, modules, dot),
            cause="code-too-small",
        )
    few = dot is not None and round(module / dot) < FEW_DOTS
    if not few and round(module, 3) >= SMALL:
        return None
    what = f"the QR code has modules of {_in_dots(module, dot)}, small for some phones (0.33 mm and 3 dots are safe)"
    return LabelWarning(what, f"a larger label, or {COMPACT_FORM}" if is_json(label) else "a larger label")


def _what_would_do(label: Label, quiet_zone: int, modules: int, dot: float | None) -> str:
    """Return the side in mm that is enough, for this symbol and for smaller ones."""
    least = least_module(dot)

    def needed(side: int) -> str:
        return f"{math.ceil((side + 2 * quiet_zone) * least * 10 - 1e-6) / 10:g} mm"

    ways = [f"give it {needed(modules)}"]
    weakest = side_of(label.payload, Level.L)
    if weakest < modules:
        ways.append(f'level = "L" ({needed(weakest)})')
    if is_json(label):
        compact = Secret(f"NP:{label.service_name}|{label.pop.reveal()}|b")
        ways.append(f"{needed(side_of(compact, Level.L))} with {COMPACT_FORM}")
    return ", or ".join(ways)


def is_json(label: Label) -> bool:
    """Return whether the payload of *label* is JSON, not compact."""
    return label.payload.reveal().startswith("{")


def judge_barcode(label: Label, style: LabelStyle, barcode: Barcode, module: float, dot: float | None) -> None:
    """Raise InputError if the modules of the second code are smaller than 2 dots or 0.19 mm."""
    least = _NARROW_BAR if dot is None else max(FEWEST_DOTS, math.ceil(_NARROW_BAR / dot - 1e-6)) * dot
    if module >= least - 1e-6:
        return
    across = (barcode.columns + 2 * barcode.quiet_zone) * least
    raise InputError(
        f"the {barcode.kind} code has no room: its modules would have {_in_dots(module, dot)}",
        where=f"{label.serial}, style {style}",
        hint=f"give it {math.ceil(across * 10) / 10:g} mm of width"
        + (f" and {math.ceil(barcode.rows * least * 10) / 10:g} mm of height" if barcode.rows > 1 else ""),
        cause="code-too-small",
    )


def _in_dots(module: float, dot: float | None) -> str:
    if dot is None:
        return f"{module:.2f} mm"
    dots = round(module / dot)
    return f"{dots} dot{'' if dots == 1 else 's'} ({module:.2f} mm)"
