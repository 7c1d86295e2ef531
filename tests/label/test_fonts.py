"""Fonts are files: two of them are two fonts, whatever they call themselves."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.errors import InputError
from rmfab.label.drawing import Drawing, DrawnText
from rmfab.label.fonts import face_font, load_font, registered, width_on_paper
from rmfab.label.pdf import sheet_pdf
from rmfab.label.print_raster import draw_on_dots
from rmfab.label.sheets import single_label_sheet
from rmfab.label.typeface import Face, product_font
from tests.label.sample import KHMER

VERA = face_font(Face.REGULAR).path


def twice_as_wide(font: bytes) -> bytes:
    """Double the advance widths of a font (OpenType, "hhea" and "hmtx"); its names stay."""
    tables = {}
    for number in range(struct.unpack_from(">H", font, 4)[0]):
        tag, _, at, _ = struct.unpack_from(">4sLLL", font, 12 + 16 * number)
        tables[tag] = at
    wide = bytearray(font)
    for number in range(struct.unpack_from(">H", font, tables[b"hhea"] + 34)[0]):
        at = tables[b"hmtx"] + 4 * number
        struct.pack_into(">H", wide, at, 2 * struct.unpack_from(">H", wide, at)[0])
    return bytes(wide)


def test_two_versions_of_one_font(tmp_path: Path) -> None:
    """Two files whose fonts have the same name are two fonts: on paper, on dots, and as product.toml's."""
    for name, content in (("old.ttf", VERA.read_bytes()), ("new.ttf", twice_as_wide(VERA.read_bytes()))):
        (tmp_path / name).write_bytes(content)
    old, new = load_font(tmp_path / "old.ttf"), load_font(tmp_path / "new.ttf")
    assert width_on_paper("Serial", new, 10) == pytest.approx(2 * width_on_paper("Serial", old, 10))
    assert new.letter_on_dots("S", 40) > old.letter_on_dots("S", 40)
    with product_font(new.path):
        font = face_font(Face.PRODUCT)
        assert font.path == new.path
        assert width_on_paper("Serial", font, 10) == pytest.approx(width_on_paper("Serial", new, 10))


def test_a_copy_that_is_gone(tmp_path: Path) -> None:
    """A font is read from its own file, also if a copy of it was used before and is gone."""
    copy, kept = tmp_path / "copy.ttf", tmp_path / "kept.ttf"
    for path in (copy, kept):
        path.write_bytes(KHMER.read_bytes())
    load_font(copy)
    copy.unlink()
    with product_font(kept):
        assert face_font(Face.PRODUCT).letter_on_dots("ឆ", 41) > 0


def test_a_font_that_goes_away(tmp_path: Path) -> None:
    """A font that is gone when it is needed in a further size, or by a different process, gets a clear error."""
    path = tmp_path / "gone.ttf"
    path.write_bytes(VERA.read_bytes())
    font = load_font(path)
    path.unlink()
    for use in (lambda: font.on_dots(42), lambda: registered(type(font)("of-another-process", path))):
        with pytest.raises(InputError, match=r"cannot use the font .*gone\.ttf") as caught:
            use()
        assert caught.value.cause == "label-font"


@given(
    changes=st.lists(st.tuples(st.integers(0, len(KHMER.read_bytes()) - 1), st.integers(0, 255)), max_size=20),
    length=st.one_of(st.none(), st.integers(0, len(KHMER.read_bytes()))),
)
def test_damaged_fonts(tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], length: int | None):
    """A font that is damaged anywhere still sets texts, or gets a clear error: on dots and on paper."""
    font = bytearray(KHMER.read_bytes())
    for position, value in changes:
        font[position] = value
    path = tmp_path_factory.mktemp("damaged") / "font.ttf"
    path.write_bytes(font[:length])
    for use in (_on_dots, _on_paper):
        with suppress(InputError):
            use(path)


@pytest.mark.parametrize("tag", [b"cmap", b"glyf", b"head", b"hhea", b"hmtx", b"loca", b"maxp", b"name", b"post"])
def test_a_font_that_lacks_a_table(tmp_path: Path, tag: bytes) -> None:
    """reportlab needs more tables than it looks for at first; the error names this font, and no other of the page."""
    path = tmp_path / "font.ttf"
    path.write_bytes(KHMER.read_bytes().replace(tag, b"none", 1))
    with pytest.raises(InputError, match=r"cannot use the font [^,]*font\.ttf: "):
        load_font(path)


def _on_dots(path: Path) -> None:
    draw_on_dots(Drawing(20, 20, (DrawnText("ឆន", 2, 10, load_font(path), 10),)), 0.125)


def _on_paper(path: Path) -> None:
    sheet_pdf([Drawing(20, 20, (DrawnText("ឆន", 2, 10, load_font(path), 10),))], single_label_sheet(20, 20))
