"""The reader of label styles: TOML files in `templates/labels/` of the workspace, and those that come with rmfab.

A style of the workspace hides a shipped one of the same name. All complaints about a file are raised together, each
with file and key. `docs/labels.md` describes the format.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rmfab.errors import InputError
from rmfab.files import is_safe_name, read_input, shipped_files
from rmfab.label.content import Placeholder
from rmfab.label.flow import judge_geometry
from rmfab.label.fonts import LabelFont, load_font
from rmfab.label.layout import Box
from rmfab.label.logo import judge_logo
from rmfab.label.sheets import sheet
from rmfab.label.style import (
    LARGEST_SIDE,
    Align,
    BarcodeKind,
    CodePosition,
    LabelStyle,
    LogoMethod,
    Shape,
    StyleBarcode,
    StyleCode,
    StyleLogo,
    StyleText,
    VerticalAlign,
    Weight,
    parse_label_size,
)
from rmfab.label.style_fonts import font_for
from rmfab.label.symbol import QUIET_ZONE, Level
from rmfab.label.text import SMALLEST
from rmfab.product.toml_reader import Table, Walker, as_toml, load_toml, suggestion
from rmfab.product.vocabulary import QrForm

FOLDER = Path("templates") / "labels"
_WIDE = 1.3
_LARGEST_TYPE = 72.0
_MOST_COPIES = 10
_LARGEST_LOGO = 1 << 20
_PART = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}]*)\}|[{}]|[^{}]+")
_LEVELS = {level.name: level for level in Level}


def style_files(root: Path) -> dict[str, Path]:
    """Return the styles of the workspace *root* and those that come with rmfab, by name; the workspace's win."""
    own = sorted((root / FOLDER).glob("*.toml"))
    files = [*shipped_files(str(FOLDER), ".toml"), *own]
    named = {path.stem: path for path in files if is_safe_name(path.stem)}
    return dict(sorted(named.items()))


def load_style(root: Path, name: str) -> LabelStyle:
    """Return the style *name*. Raise InputError if there is none, ComplaintsError with all that is wrong with it."""
    files = style_files(root)
    if not is_safe_name(name):
        raise InputError(
            f'"{name}" is not the name of a label style',
            hint="a name has at most 64 of A-Z a-z 0-9 . _ - and no leading dot; it is that of its file without .toml",
            cause="unknown-style",
        )
    if name not in files:
        hint = suggestion(name, files) or ""
        raise InputError(
            f'unknown label style "{name}"',
            hint=f"{hint} `rmfab label --styles` lists them".strip(),
            cause="unknown-style",
        )
    return read_style(files[name], shown=_shown(files[name], root))


def read_style(path: Path, shown: str | None = None) -> LabelStyle:
    """Return the style of the file *path*, called *shown* in complaints. Raise InputError, ComplaintsError."""
    walker = Walker(shown or str(path), load_toml(path, "label style"))
    style = _style(walker, path)
    if not walker.complaints:
        _judge_pop(walker, style)
        _judge_letters(walker, style)
        for place, what, hint in judge_geometry(style):
            walker.complain(place, what, hint)
    walker.finish()
    return style


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _style(walker: Walker, path: Path) -> LabelStyle:
    label = walker.table("label")
    width, height, paper = _measures(label)
    shape = label.choice("shape", Shape, Shape.RECTANGLE)
    if shape is Shape.ROUND and width != height:
        label.complain("size", f"a round label is as wide as high, not {width:g} x {height:g} mm", 'such as "24"')
    round_label = shape is Shape.ROUND
    centred = round_label or width < _WIDE * height
    style = LabelStyle(
        name=path.stem,
        file=path,
        width=width,
        height=height,
        shape=shape,
        margin=label.number("margin", 1.0, 0.0, 20.0),
        gap=label.number("gap", 1.0, 0.0, 20.0),
        valign=label.choice("valign", VerticalAlign, VerticalAlign.MIDDLE),
        flow=_box(label, "flow"),
        pop=label.boolean("pop", True),
        copies=label.integer("copies", 1, 1, _MOST_COPIES),
        title=label.text("title", ""),
        sheet=paper,
        font=_font(label, "font", path.parent),
        bold_font=_font(label, "bold_font", path.parent),
        qr=_qr(walker, round_label, centred),
        logo=_logo(walker, path.parent, centred),
        texts=tuple(_text(table, number, centred) for number, table in enumerate(walker.tables("text"), 1)),
        barcode=_barcode(walker, centred),
    )
    label.finish()
    return style


def _measures(label: Table) -> tuple[float, float, str | None]:
    """Return width, height and sheet: `size`, or `sheet` for the size of its labels."""
    named = label.text("sheet", "")
    if named and label.raw("size") is not None:
        label.complain("sheet", "size and sheet exclude each other", "a sheet has a size: remove size")
    if not named:
        return (*label.parsed("size", parse_label_size, (LARGEST_SIDE, LARGEST_SIDE)), None)
    try:
        paper = sheet(named)
    except InputError as error:
        label.complain("sheet", error.what, error.hint)
        return LARGEST_SIDE, LARGEST_SIDE, None
    return (*paper.label, paper.name)


def _font(label: Table, key: str, folder: Path) -> Path | None:
    named = label.text(key, "")
    if not named:
        return None
    try:
        return load_font(folder / named).path
    except InputError as error:
        label.complain(key, error.what, error.hint)
        return None


def _qr(walker: Walker, round_label: bool, centred: bool) -> StyleCode | None:
    if not walker.has("qr"):
        return None
    table = walker.table("qr")
    position = table.choice("position", CodePosition, CodePosition.TOP if centred else CodePosition.LEFT)
    if round_label and position.beside:
        table.complain(
            "position", f"no room for texts on the {position}'s other side of a round label", "top or bottom"
        )
    level = table.text("level", "", check=_bad_level, hint="L, M, Q or H, the strongest")
    code = StyleCode(
        position=position,
        level=_LEVELS.get(level),
        form=table.optional_choice("form", QrForm),
        quiet_zone=table.integer("quiet_zone", QUIET_ZONE, 2, 10),
        side=table.number("side", 0.0, 4.0, LARGEST_SIDE) or None,
        align=table.choice("align", Align, Align.CENTER),
        box=_box(table),
    )
    table.finish()
    return code


def _bad_level(level: str) -> str | None:
    return None if level in _LEVELS else f'"{level}" is not an error correction level'


def _text(table: Table, number: int, centred: bool) -> StyleText:
    text = StyleText(
        key=f"[[text]] no. {number}",
        parts=_parts(table),
        size=table.number("size", 7.0, SMALLEST, _LARGEST_TYPE),
        weight=table.choice("weight", Weight, Weight.REGULAR),
        align=table.choice("align", Align, Align.CENTER if centred else Align.LEFT),
        caption=table.text("caption", "", check=_bad_line),
        space=table.number("space", 0.0, 0.0, 50.0),
        box=_box(table),
    )
    table.finish()
    return text


def _parts(table: Table) -> tuple[str | Placeholder, ...]:
    """Return the literal texts and placeholders of `text`; `{{` and `}}` are braces."""
    text = table.text("text", check=_bad_line)
    parts: list[str | Placeholder] = []
    for found in _PART.finditer(text):
        name, literal = found["name"], found[0]
        if name in Placeholder.__members__.values():
            parts.append(Placeholder(name))
        elif name is not None:
            known = suggestion(name, Placeholder) or f"known: {', '.join(Placeholder)}; {{{{ and }}}} print braces"
            table.complain("text", f'unknown placeholder "{{{name}}}"', known)
        elif literal in ("{", "}"):
            table.complain(
                "text", f'a single "{literal}"', f"{{serial}} is a placeholder; write {literal * 2} for a brace"
            )
        else:
            parts.append(literal.replace("{{", "{").replace("}}", "}"))
    return tuple(parts)


def _bad_line(text: str) -> str | None:
    if not text.strip():
        return "an empty text"
    return None if text.isprintable() else "expected one line of printable characters"


def _logo(walker: Walker, folder: Path, centred: bool) -> StyleLogo | None:
    if not walker.has("logo"):
        return None
    table = walker.table("logo")
    named, method = table.text("file"), table.choice("method", LogoMethod, LogoMethod.THRESHOLD)
    data = b""
    if named:
        try:
            data = read_input(folder / named, "logo", most=_LARGEST_LOGO)
            judge_logo(data, method)
        except InputError as error:
            table.complain("file", str(error), error.hint or f"the path is relative to {FOLDER}")
    logo = StyleLogo(
        file=folder / named,
        data=data,
        height=table.number("height", 5.0, 1.0, LARGEST_SIDE),
        method=method,
        align=table.choice("align", Align, Align.CENTER if centred else Align.LEFT),
        box=_box(table),
    )
    table.finish()
    return logo


def _barcode(walker: Walker, centred: bool) -> StyleBarcode | None:
    if not walker.has("barcode"):
        return None
    table = walker.table("barcode")
    barcode = StyleBarcode(
        kind=table.required_choice("kind", BarcodeKind),
        height=table.number("height", 6.0, 2.0, LARGEST_SIDE),
        align=table.choice("align", Align, Align.CENTER if centred else Align.LEFT),
        space=table.number("space", 0.0, 0.0, 50.0),
        box=_box(table),
    )
    table.finish()
    return barcode


def _box(table: Table, key: str = "box") -> Box | None:
    value = table.raw(key)
    if value is None:
        return None
    numbers = value if isinstance(value, list) else []
    if len(numbers) != 4 or not all(_is_length(one) for one in numbers) or min(numbers[2:]) <= 0:
        table.complain(key, f"{as_toml(value)} is not a box", "[left, top, width, height] in mm")
        return None
    return Box(*map(float, numbers))


def _is_length(value: Any) -> bool:
    whole = isinstance(value, (int, float)) and not isinstance(value, bool)
    return whole and math.isfinite(value) and 0 <= value <= LARGEST_SIDE


def _judge_pop(walker: Walker, style: LabelStyle) -> None:
    if not style.pop and style.qr is not None:
        walker.complain("[qr]", "the QR code contains the PoP, and pop is false", "remove [qr], or pop = false")
    for each in style.texts:
        if not style.pop and Placeholder.POP in each.placeholders:
            walker.complain(f"{each.key} text", "{pop} is the PoP, and pop is false", "remove it, or pop = false")
    if style.pop and not style.shows_pop:
        walker.complain(
            "[label] pop",
            "a label without [qr] and {pop} is of no use to a phone",
            "add [qr], or set pop = false if that is what you want",
        )
    if not style.qr and not style.texts and not style.logo and not style.barcode:
        walker.complain("[label]", "the label is empty", "add [qr] or [[text]]")


def _judge_letters(walker: Walker, style: LabelStyle) -> None:
    """Complain about letters that the style's font lacks. Those of a unit are judged when its label is made."""
    for each in style.texts:
        for key, text in _written(each):
            font = font_for(style, each)
            if missing := font.lacking(text):
                walker.complain(f"{each.key} {key}", f"{_named(font, style)} lacks {missing}", _FONT_HINT)


_FONT_HINT = 'set [label] font to a TrueType font that has them, such as font = "NotoSansSC.ttf"'


def _named(font: LabelFont, style: LabelStyle) -> str:
    return f"the font {font.path.name}" if style.font or style.bold_font else "the usual font"


def _written(text: StyleText) -> Iterator[tuple[str, str]]:
    yield "text", "".join(part for part in text.parts if not isinstance(part, Placeholder))
    yield "caption", text.caption
