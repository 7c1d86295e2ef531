"""Tests of the bitmap of one label: whole dots, readable for every reader, the same bytes, and nothing hidden in it."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import zxingcpp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from rmfab.errors import InputError, IntegrityError
from rmfab.files import shipped_files
from rmfab.label.content import Label
from rmfab.label.design import dot_of
from rmfab.label.print_raster import draw_on_dots, judge_image, label_raster
from rmfab.label.printers.ql import fitting
from rmfab.label.printers.ql_media import ROLLS
from rmfab.label.style import LabelStyle, Shape, StyleCode, StyleText
from rmfab.label.style_auto import AutomaticStyle
from rmfab.label.style_file import read_style
from rmfab.secret import Secret
from tests.label.sample import known, label, style_of

SHIPPED = {path.stem: read_style(path) for path in shipped_files("templates/labels", ".toml")}
WITH_CODE = sorted(name for name, style in SHIPPED.items() if style.qr is not None)
SAFE = """
[label]
size = "50x30"
[qr]
position = "left"
[[text]]
text = "{serial}"
"""


def form_of(name: str) -> str:
    """Return the form of the payload for a shipped style."""
    return "compact" if name == "minimal-10" else "json"


def printed(name: str, dpi: int, number: int = 1, form: str | None = None) -> Image.Image:
    """Return a label of a shipped style as a printer prints it."""
    return label_raster(known(number, form or form_of(name)), SHIPPED[name], dpi).raster.image()


def payload(name: str, number: int = 1) -> str:
    return known(number, form_of(name)).payload.reveal()


def test_five_styles_come_with_rmfab() -> None:
    """These five, and only the one for cartons has no PoP."""
    assert sorted(SHIPPED) == ["minimal-10", "module-15", "pack-62x29", "plug-40x30", "round-24"]
    assert [name for name in SHIPPED if not SHIPPED[name].shows_pop] == ["pack-62x29"]


@pytest.mark.parametrize("dpi", [203, 300])
@pytest.mark.parametrize("name", WITH_CODE)
def test_zxing_and_opencv_read_every_style(name: str, dpi: int) -> None:
    """Both read the code on exactly the dots that are printed."""
    for number in (1, 4711, 99999):
        image, wanted = printed(name, dpi, number), payload(name, number)
        assert [code.text for code in zxingcpp.read_barcodes(image)] == [wanted]
        assert cv2.QRCodeDetectorAruco().detectAndDecode(np.array(image))[0] == wanted


@pytest.mark.skipif(shutil.which("zbarimg") is None, reason="zbarimg is not installed")
@pytest.mark.parametrize("dpi", [203, 300])
@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_zbar_reads_every_style(name: str, dpi: int, tmp_path: Path) -> None:
    """zbar reads the code, and the barcode of the carton's label."""
    printed(name, dpi).save(tmp_path / "label.png")
    read = subprocess.run(
        ["zbarimg", "-q", "--raw", tmp_path / "label.png"], capture_output=True, text=True, check=True
    )
    assert read.stdout.splitlines() == [payload(name) if name in WITH_CODE else "LMP-000001"]


@pytest.mark.parametrize("dpi", [203, 300, 600])
@pytest.mark.parametrize("name", WITH_CODE)
def test_every_module_is_a_whole_number_of_dots(name: str, dpi: int) -> None:
    """Runs of black and white in the code's rows are multiples of one number of dots."""
    made = label_raster(known(form=form_of(name)), SHIPPED[name], dpi)
    code = made.drawing.code
    assert code is not None
    dots = round(code.module / dot_of(dpi))
    assert dots >= 2
    assert code.module == pytest.approx(dots * dot_of(dpi))
    left, top = round(code.x / dot_of(dpi)), round(code.y / dot_of(dpi))
    grid = np.array(made.raster.image())[top : top + code.symbol.side * dots, left : left + code.symbol.side * dots]
    modules = grid[::dots, ::dots]
    assert (np.repeat(np.repeat(modules, dots, axis=0), dots, axis=1) == grid).all()
    assert [bytes((row == 0).astype(np.uint8)) for row in modules] == list(code.symbol.modules)


def test_203_dpi_are_8_dots_per_mm() -> None:
    """A printer of "203 dpi" has 0.125 mm per dot, so 40 x 30 mm are 320 x 240 dots."""
    made = label_raster(label(), SHIPPED["plug-40x30"], 203)
    assert (made.raster.width, made.raster.height) == (320, 240)
    made = label_raster(label(), SHIPPED["plug-40x30"], 300)
    assert (made.raster.width, made.raster.height) == (472, 354)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_label_has_the_same_bytes_each_time_and_in_threads(name: str) -> None:
    """Two threads at once give the bytes that one gives."""
    numbers = range(1, 9)

    def made(number: int) -> bytes:
        return label_raster(known(number, form_of(name)), SHIPPED[name], 203).raster.data

    alone = [made(number) for number in numbers]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(made, numbers)) == alone
    assert len(set(alone)) == len(numbers)


@settings(max_examples=25, deadline=None)
@given(pop=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=24))
def test_a_carton_s_label_is_the_same_whatever_the_pop(pop: str) -> None:
    """Its bitmap does not depend on PoP or payload, so neither is in it; its only code is the serial."""
    style, one = SHIPPED["pack-62x29"], known()
    other = replace(one, pop=Secret(pop), payload=Secret(f"NP:PROV_000001|{pop}|b"))
    assert label_raster(other, style, 203).raster == label_raster(one, style, 203).raster
    image = label_raster(other, style, 300).raster.image()
    assert [code.text for code in zxingcpp.read_barcodes(image)] == ["LMP-000001"]


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_nothing_is_printed_outside_the_label(name: str) -> None:
    """A margin of 0.3 mm stays white; on a round label that along the circle."""
    for dpi in (203, 300):
        image, dot = printed(name, dpi), dot_of(dpi)
        mask, edge = Image.new("L", image.size, 255), round(0.3 / dot)
        box = (edge, edge, image.width - 1 - edge, image.height - 1 - edge)
        draw = ImageDraw.Draw(mask)
        (draw.ellipse if SHIPPED[name].shape is Shape.ROUND else draw.rectangle)(box, fill=0)
        assert Image.composite(image, Image.new("L", image.size, 255), mask).getextrema() == (255, 255)


def test_the_label_of_a_carton_fits_the_roll_of_a_brother_ql() -> None:
    """pack-62x29 has the size of Brother's roll, and nothing in the margin that the printer leaves."""
    (roll,) = (one for one in ROLLS if (one.width, one.length) == (62, 29))
    fitting(label_raster(known(), SHIPPED["pack-62x29"], 300).raster, roll, "ql+tcp://q")


def test_small_modules_are_a_warning(tmp_path: Path) -> None:
    """2 dots at 203 dpi, and 3 dots of 0.25 mm at 300 dpi, are printed with a warning; 3 dots at 203 dpi without."""
    for size, dpi, warned in (("13", 203, True), ("13", 300, True), ("19", 203, False), ("17", 300, False)):
        style = style_of(tmp_path, f'[label]\nsize = "{size}"\nmargin = 0\n[qr]\n')
        warnings = label_raster(label(), style, dpi).warnings
        assert [("small for some phones" in each.what) for each in warnings] == [True] * warned, (size, dpi)


def test_too_small_modules_are_refused_with_the_size_that_would_do(tmp_path: Path) -> None:
    """The hint's sizes are enough, and a tenth of a millimetre less is not."""
    style = style_of(tmp_path, '[label]\nsize = "10"\nmargin = 0\n[qr]\nlevel = "M"\n')
    with pytest.raises(InputError) as caught:
        label_raster(label(), style, 203)
    assert caught.value.cause == "code-too-small"
    assert "1 dot (0.12 mm)" in caught.value.what
    assert str(caught.value.hint).startswith('give it 12.3 mm, or level = "L" (11.3 mm), or 8.3 mm with qr = "compact"')
    for size, level, fits in (("12.3", "M", True), ("12.2", "M", False), ("11.3", "L", True), ("11.2", "L", False)):
        other = style_of(tmp_path, f'[label]\nsize = "{size}"\nmargin = 0\n[qr]\nlevel = "{level}"\n')
        if fits:
            label_raster(label(), other, 203)
        else:
            with pytest.raises(InputError):
                label_raster(label(), other, 203)
    label_raster(label(form="compact"), style_of(tmp_path, '[label]\nsize = "8.3"\nmargin = 0\n[qr]\n'), 203)


@pytest.mark.parametrize(("size", "dpi"), [("7", 203), ("7", 300), ("6", 600)])
def test_under_two_dots_or_a_fifth_of_a_millimetre_is_refused(tmp_path: Path, size: str, dpi: int) -> None:
    """At 300 dpi two dots are 0.17 mm, too small; at 600 dpi four dots are."""
    with pytest.raises(InputError, match="has no room"):
        label_raster(label(form="compact"), style_of(tmp_path, f'[label]\nsize = "{size}"\nmargin = 0\n[qr]\n'), dpi)


def damaged(style: LabelStyle, one: Label, dpi: int, box: tuple[float, float, float, float]) -> None:
    """Judge the bitmap with a black box of these mm, relative to the code."""
    made, dot = label_raster(one, style, dpi), dot_of(dpi)
    code = made.drawing.code
    assert code is not None
    image = draw_on_dots(made.drawing, dot)
    left, top, right, bottom = ((start + at) / dot for start, at in zip((code.x, code.y) * 2, box, strict=True))
    ImageDraw.Draw(image).rectangle((left, top, right, bottom), fill=0)
    judge_image(image, one, made.drawing, dot)


def test_ink_at_the_code_is_caught(tmp_path: Path) -> None:
    """A stain over a corner, or one that touches the code, does not pass."""
    style = style_of(tmp_path, SAFE)
    damaged(style, label(), 203, (-9.0, -9.0, -8.9, -8.9))
    for box in ((0, 0, 3, 3), (-0.4, -0.4, 6, 0)):
        with pytest.raises(IntegrityError) as caught:
            damaged(style, label(), 203, box)
        assert caught.value.cause == "label-unreadable"


def test_a_code_of_another_unit_is_caught(tmp_path: Path) -> None:
    """The bitmap is compared with the unit's payload, and the error names no secret."""
    style = style_of(tmp_path, SAFE)
    made = label_raster(label(1), style, 203)
    with pytest.raises(IntegrityError) as caught:
        judge_image(made.raster.image(), label(2), made.drawing, dot_of(203))
    assert caught.value.cause == "label-mismatch"
    assert "5ec2e7" not in str(caught.value)


def test_a_code_on_a_label_without_one_is_caught() -> None:
    """A label for cartons with a QR code is not printed."""
    made = label_raster(known(), SHIPPED["pack-62x29"], 203)
    image = made.raster.image()
    image.paste(printed("minimal-10", 203), (0, 0))
    with pytest.raises(IntegrityError, match="has a QR code and should have none"):
        judge_image(image, known(), made.drawing, dot_of(203))


@pytest.mark.parametrize("dpi", [203, 300, 600])
@pytest.mark.parametrize(("width", "height"), [(40, 30), (30, 40), (25.4, 25.4), (62, 29), (15, 15), (12.5, 50)])
def test_a_label_without_a_style_lays_itself_out(width: float, height: float, dpi: int) -> None:
    """It has the size of the media, and reads back."""
    made = label_raster(label(), AutomaticStyle(width, height), dpi)
    assert (made.raster.width, made.raster.height) == tuple(round(side / dot_of(dpi)) for side in (width, height))
    assert [code.text for code in zxingcpp.read_barcodes(made.raster.image())] == [label().payload.reveal()]


def test_a_continuous_roll_is_cut_after_30_mm_at_most() -> None:
    """A roll has a width only: labels on it are square up to 30 mm."""
    for roll, height in ((12.0, 12.0), (29.0, 29.0), (62.0, 30.0)):
        assert AutomaticStyle.for_media(roll, None).height == height
    assert AutomaticStyle.for_media(62.0, 100.0).height == 100.0


side = st.integers(50, 800).map(lambda tenths: tenths / 10)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    width=side,
    height=side,
    dpi=st.sampled_from([203, 300, 600]),
    form=st.sampled_from(["json", "compact"]),
    texts=st.lists(st.tuples(st.sampled_from(["{serial}", "{pop}", "{product}"]), st.integers(5, 14)), max_size=4),
    shape=st.sampled_from(Shape),
    position=st.sampled_from(["left", "right", "top", "bottom"]),
    product=st.text(max_size=30),
)
def test_any_style_prints_a_code_that_reads_or_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    width: float,
    height: float,
    dpi: int,
    form: str,
    texts: list[tuple[str, int]],
    shape: Shape,
    position: str,
    product: str,
) -> None:
    """Every style is refused with a reason, or gives a bitmap whose code reads; there is no third way."""
    size = f"{width:g}x{width if shape is Shape.ROUND else height:g}"
    head = f'[label]\nsize = "{size}"\nshape = "{shape}"\n[qr]\nposition = "{position}"\n'
    lines = "".join(f'[[text]]\ntext = "{text}"\nsize = {points}\n' for text, points in texts)
    made = None
    with suppress(InputError):
        style = style_of(tmp_path_factory.mktemp("style"), head + lines)
        made = label_raster(label(form=form, product=product), style, dpi)
    if made is None:
        return
    read = zxingcpp.read_barcodes(made.raster.image(), formats=zxingcpp.BarcodeFormat.QRCode)
    assert [code.text for code in read] == [label(form=form).payload.reveal()]


def test_styles_and_bitmaps_show_no_secret() -> None:
    """repr of a label's bitmap and drawing has neither PoP nor payload."""
    made = label_raster(known(), SHIPPED["plug-40x30"], 203)
    assert "5ec2" not in repr(made)
    assert isinstance(SHIPPED["plug-40x30"].qr, StyleCode)
    assert all(isinstance(each, StyleText) for each in SHIPPED["plug-40x30"].texts)
