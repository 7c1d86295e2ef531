"""Tests of styles on sheets, on pages of their own, and as pictures."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pypdfium2
import pytest
import zxingcpp
from PIL import Image
from reportlab.pdfbase import pdfmetrics

from rmfab.errors import InputError, IntegrityError
from rmfab.files import shipped_files
from rmfab.label import make_sheet as module
from rmfab.label.design import draw_design
from rmfab.label.fonts import face_font, registered
from rmfab.label.make_sheet import make_sheet
from rmfab.label.pdf import sheet_pdf
from rmfab.label.picture import make_png, make_svg
from rmfab.label.print_raster import label_raster
from rmfab.label.sheets import Sheet, sheet, single_label_sheet
from rmfab.label.style import LabelStyle
from rmfab.label.style_file import read_style
from rmfab.label.typeface import Face
from rmfab.label.verify_sheet import verify_sheet
from tests.label.sample import NODE_ID, known, style_of
from tests.label.test_compose import logo

SHIPPED = {path.stem: read_style(path) for path in shipped_files("templates/labels", ".toml")}
L7160 = sheet("L7160")


def made(style: LabelStyle, on: Sheet, count: int = 4, start_at: int = 1) -> bytes:
    form = "compact" if style.name == "minimal-10" else "json"
    labels = [known(number, form) for number in range(1, count + 1)]
    return make_sheet(labels, on, 300, start_at, design=style).pdf


def read(pdf: bytes) -> list[list[str]]:
    """Return the texts of all codes, page by page."""
    document = pypdfium2.PdfDocument(pdf)
    pages = [[code.text for code in zxingcpp.read_barcodes(page.render(scale=300 / 72).to_pil())] for page in document]
    document.close()
    return pages


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_every_style_on_a_sheet_and_on_pages(name: str) -> None:
    """A sheet has the labels in its cells, without a sheet each label is a page of its size."""
    style = SHIPPED[name]
    wanted = (
        ["LMP-000001"]
        if name == "pack-62x29"
        else [known(1, "compact" if name == "minimal-10" else "json").payload.reveal()]
    )
    pages = read(made(style, L7160, 4, start_at=20))
    assert [len(page) for page in pages] == [2, 2]
    assert wanted[0] in pages[0]
    document = pypdfium2.PdfDocument(made(style, single_label_sheet(style.width, style.height), 2))
    assert len(document) == 2
    assert document[0].get_size() == pytest.approx((style.width * 72 / 25.4, style.height * 72 / 25.4), abs=0.01)
    document.close()


def test_a_style_stands_in_the_middle_of_the_sheet_s_labels() -> None:
    """A round label of 24 mm on labels of 63.5 x 38.1 mm has the same white on both sides."""
    document = pypdfium2.PdfDocument(made(SHIPPED["round-24"], L7160, 1))
    page = document[0].render(scale=300 / 72).to_pil().convert("L")
    document.close()
    left, _, right, _ = page.point([255] * 128 + [0] * 128).getbbox() or (0, 0, 0, 0)
    assert (left + right) / 2 * 25.4 / 300 == pytest.approx(7.2 + 63.5 / 2, abs=0.3)


def test_a_style_larger_than_the_sheet_s_labels_is_refused() -> None:
    """The hint names the sheets that fit."""
    with pytest.raises(InputError, match=r"larger than the labels of sheet L7651") as caught:
        made(SHIPPED["plug-40x30"], sheet("L7651"))
    assert caught.value.hint == "sheets that fit: L7160, L7159, L7163"


def test_the_same_labels_give_the_same_bytes() -> None:
    """A sheet in a style is reproducible."""
    assert made(SHIPPED["plug-40x30"], L7160) == made(SHIPPED["plug-40x30"], L7160)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plug-40x30", "pack-62x29"])
def test_hundreds_of_labels_are_drawn_and_read_in_other_processes(name: str) -> None:
    """The sheet is the same as one that a single process makes; facts of the unit arrive, and a fault is found."""
    style, wanted = SHIPPED[name], [known(number) for number in range(1, 202)]
    many = make_sheet(wanted, L7160, 200, design=style)
    assert many.pdf == sheet_pdf((draw_design(one, style, on_paper=True).drawing for one in wanted), L7160)
    swapped = [wanted[1], wanted[0], *wanted[2:]]
    with pytest.raises(IntegrityError, match=r"page 1, label 1: the (label|second code) of LMP-000002"):
        verify_sheet(many.pdf, swapped, L7160, 200, design=style)


def test_a_font_that_another_process_measured_is_not_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """reportlab gets the font from its file. Its own search takes long, and swallows ^C and SIGTERM."""

    def search(name: str) -> None:
        raise AssertionError(f"reportlab searches for {name}")

    monkeypatch.setattr(pdfmetrics, "findFontAndRegister", search)
    font = replace(face_font(Face.REGULAR), name="font-of-another-process")
    assert registered(font) == "font-of-another-process"
    assert pdfmetrics.stringWidth("Serial", registered(font), 10) == pytest.approx(28.4, abs=2)


def test_a_carton_s_label_has_no_pop_in_any_file() -> None:
    """PDF, PNG and SVG of it are the same for two labels that differ in their PoP only."""
    style, one = SHIPPED["pack-62x29"], known(1)
    other = replace(one, pop=known(2).pop, payload=known(2).payload)
    page = single_label_sheet(style.width, style.height)
    assert make_sheet([one], page, design=style).pdf == make_sheet([other], page, design=style).pdf
    assert make_png(one, style, 203).data == make_png(other, style, 203).data
    assert make_svg(one, style).data == make_svg(other, style).data
    assert NODE_ID.encode() not in make_svg(one, style).data


def test_swapped_and_blank_labels_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is compared with the labels that it should have, place by place."""
    style, draw = SHIPPED["plug-40x30"], module.sheet_pdf
    monkeypatch.setattr(
        module, "sheet_pdf", lambda drawings, *rest, **marks: draw(reversed([*drawings]), *rest, **marks)
    )
    with pytest.raises(IntegrityError, match="the label of LMP-000001 has the code of LMP-000002"):
        made(style, L7160, 2)
    monkeypatch.setattr(module, "sheet_pdf", lambda drawings, *rest, **marks: draw([*drawings][:1], *rest, **marks))
    with pytest.raises(IntegrityError, match="the code of LMP-000002 cannot be read back"):
        made(style, L7160, 2)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_png_is_exactly_what_a_printer_prints(name: str, tmp_path: Path) -> None:
    """Its pixels are the dots of the bitmap."""
    one = known(form="compact" if name == "minimal-10" else "json")
    (tmp_path / "label.png").write_bytes(make_png(one, SHIPPED[name], 203).data)
    with Image.open(tmp_path / "label.png") as image:
        assert image.convert("L").tobytes() == label_raster(one, SHIPPED[name], 203).raster.image().tobytes()
        assert image.info["dpi"][0] == pytest.approx(203, abs=0.1)


@pytest.mark.skipif(shutil.which("rsvg-convert") is None, reason="rsvg-convert is not installed")
@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_real_renderer_draws_the_codes_of_an_svg(name: str, tmp_path: Path) -> None:
    """librsvg's picture of the SVG has the same codes."""
    one = known(form="compact" if name == "minimal-10" else "json")
    (tmp_path / "label.svg").write_bytes(make_svg(one, SHIPPED[name]).data)
    command = ["rsvg-convert", "-d", "600", "-p", "600", "-o", tmp_path / "label.png", tmp_path / "label.svg"]
    subprocess.run(command, check=True)
    with Image.open(tmp_path / "label.png") as image:
        (code,) = zxingcpp.read_barcodes(image.convert("L"))
    assert code.text == ("LMP-000001" if name == "pack-62x29" else one.payload.reveal())


@pytest.mark.skipif(shutil.which("rsvg-convert") is None, reason="rsvg-convert is not installed")
def test_a_logo_is_on_pages_and_in_svg(tmp_path: Path) -> None:
    """Both show it where the bitmap does."""
    logo(tmp_path / "logo.png")
    style = style_of(
        tmp_path, '[label]\nsize = "60x40"\n[qr]\nside = 22\n[logo]\nfile = "logo.png"\nbox = [30, 2, 20, 20]\n'
    )
    (tmp_path / "label.svg").write_bytes(make_svg(known(), style).data)
    subprocess.run(
        ["rsvg-convert", "-d", "300", "-p", "300", "-o", tmp_path / "l.png", tmp_path / "label.svg"], check=True
    )
    document = pypdfium2.PdfDocument(made(style, single_label_sheet(60.0, 40.0), 1))
    page = document[0].render(scale=300 / 72).to_pil().convert("L")
    document.close()
    with Image.open(tmp_path / "l.png") as drawn:
        for image in (page, drawn.convert("L"), label_raster(known(), style, 300).raster.image()):
            left, top = round(30 * 300 / 25.4), round(7 * 300 / 25.4)
            assert image.crop((left + 3, top + 3, left + 50, top + 100)).getextrema()[1] < 128


def test_a_page_for_a_label_printer_has_whole_dots() -> None:
    """On one label per page every edge of the code is on a dot of the printer: rendered, it is black or white."""
    style = SHIPPED["plug-40x30"]
    page = single_label_sheet(style.width, style.height)
    document = pypdfium2.PdfDocument(make_sheet([known()], page, 203, design=style).pdf)
    image = document[0].render(scale=8 * 25.4 / 72).to_pil().convert("L")
    document.close()
    code = image.crop((0, 56, 160, 230)).histogram()
    assert sum(code[8:248]) == 0
    assert code[0] > 1000


def test_a_logo_of_too_many_pixels_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """A PNG of a few bytes that claims a billion pixels takes neither time nor memory."""
    logo(tmp_path / "logo.png")
    data = (tmp_path / "logo.png").read_bytes()
    (tmp_path / "logo.png").write_bytes(data[:16] + (1 << 30).to_bytes(4, "big") + data[20:])
    with pytest.raises(InputError, match="are too many for a logo"):
        style_of(tmp_path, '[label]\nsize = "60x40"\n[qr]\nside = 22\n[logo]\nfile = "logo.png"\n')
