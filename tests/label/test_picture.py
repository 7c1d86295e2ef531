"""Labels as PNG, SVG and terminal text."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from rmfab.errors import InputError, IntegrityError
from rmfab.label.content import Label
from rmfab.label.layout import make_artwork
from rmfab.label.picture import make_png, make_svg
from rmfab.label.readback import Expected, codes_in, judge_code, svg_image
from rmfab.label.style_auto import AutomaticStyle
from rmfab.label.symbol import encode
from rmfab.label.terminal_code import terminal_code
from rmfab.secret import Secret
from tests.label.sample import label

SIZES = [
    (38.1, 21.17, "json"),
    (25.4, 10.0, "compact"),
    (25.4, 25.4, "json"),
    (20.0, 60.0, "json"),
    (12.0, 12.0, "compact"),
]


@pytest.mark.parametrize(("width", "height", "form"), SIZES)
def test_a_png_has_its_size_and_whole_dots(width: float, height: float, form: str) -> None:
    """The picture has the size of the label and its resolution, and its code is only black and white."""
    each = label(form=form)
    image = Image.open(io.BytesIO(make_png(each, AutomaticStyle(width, height), 300).data))
    assert image.size == (round(width / 25.4 * 300), round(height / 25.4 * 300))
    assert image.info["dpi"][0] == pytest.approx(300, abs=0.1)
    dot = 25.4 / 300
    artwork = make_artwork(each, image.width * dot, image.height * dot, dot)
    left, top, side = (round(v / dot) for v in (*artwork.layout.code, artwork.layout.module * artwork.symbol.side))
    code = image.crop((left, top, left + side, top + side))
    assert {level for _, level in code.getcolors()} == {0, 255}


@pytest.mark.parametrize(("width", "height", "form"), SIZES)
def test_pictures_read_back_and_are_reproducible(width: float, height: float, form: str) -> None:
    """PNG and SVG contain the payload, and are the same bytes each time."""
    each = label(form=form)
    payload = (each.payload.reveal().encode(),)
    png, drawing = (
        make_png(each, AutomaticStyle(width, height)).data,
        make_svg(each, AutomaticStyle(width, height)).data,
    )
    assert read_png(png) == read_svg(drawing) == payload
    assert (png, drawing) == (
        make_png(each, AutomaticStyle(width, height)).data,
        make_svg(each, AutomaticStyle(width, height)).data,
    )


def test_an_svg_is_well_formed_whatever_the_product_is_called() -> None:
    """Markup in a product name is escaped."""
    data = make_svg(label(product='<Lamp> & "Co"'), AutomaticStyle(63.5, 38.1)).data
    texts = [element.text for element in ET.fromstring(data).iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == '<Lamp> & "Co"'


def test_an_svg_with_another_or_no_code_is_caught() -> None:
    """The code is read from the paths of the file, so a wrong or missing code is found."""
    one, two = label(1), label(2)
    wanted = Expected(one.serial, one.payload)
    other = make_svg(two, AutomaticStyle(63.5, 38.1)).data
    for data, cause in ((other, "label-mismatch"), (other.replace(b"h1v1h-1z", b""), "label-unreadable")):
        with pytest.raises(IntegrityError) as caught:
            judge_code(read_svg(data.replace(b"h2v1h-2z", b"") if cause == "label-unreadable" else data), wanted, "SVG")
        assert caught.value.cause == cause
    assert read_svg(b"<svg/>") == ()


def test_a_label_too_small_for_its_code_is_no_picture() -> None:
    """A module under 0.20 mm is rejected in pictures, too."""
    for make in (make_png, make_svg):
        with pytest.raises(InputError):
            make(label(), AutomaticStyle(30.0, 7.0))


@pytest.mark.skipif(shutil.which("rsvg-convert") is None, reason="rsvg-convert is not installed")
def test_a_real_renderer_draws_the_same_code(tmp_path: Path) -> None:
    """The SVG rendered by librsvg decodes to the payload."""
    each = label()
    (tmp_path / "label.svg").write_bytes(make_svg(each, AutomaticStyle(38.1, 21.17)).data)
    drawn = subprocess.run(
        ["rsvg-convert", "-d", "300", "-p", "300", tmp_path / "label.svg"], capture_output=True, check=True
    )
    assert read_png(drawn.stdout) == (each.payload.reveal().encode(),)


def read_png(data: bytes) -> tuple[bytes, ...]:
    """Return the codes of a PNG file."""
    with Image.open(io.BytesIO(data)) as image:
        return codes_in(image.convert("L"))


def read_svg(data: bytes) -> tuple[bytes, ...]:
    """Return the codes of an SVG file."""
    return codes_in(svg_image(data))


def seen(text: str, ink: int, paper: int) -> Image.Image:
    """Return what a terminal would show, with four dots per module."""
    lines = text.replace("\x1b[38;5;16;48;5;231m", "").replace("\x1b[0m", "").splitlines()
    image = Image.new("L", (len(lines[0]), 2 * len(lines)))
    for row, line in enumerate(lines):
        for column, letter in enumerate(line):
            image.putpixel((column, 2 * row), ink if letter in "▀█" else paper)
            image.putpixel((column, 2 * row + 1), ink if letter in "▄█" else paper)
    return image.resize((image.width * 4, image.height * 4), Image.Resampling.NEAREST)


@pytest.mark.parametrize(
    ("colour", "inverse", "ink", "paper"),
    [(True, False, 0, 255), (True, True, 0, 255), (False, False, 0, 255), (False, True, 255, 0)],
)
@pytest.mark.parametrize("form", ["json", "compact"])
def test_a_code_in_the_terminal_decodes(form: str, colour: bool, inverse: bool, ink: int, paper: int) -> None:
    """The code decodes with colours on any background, without them dark on light, and inverse light on dark."""
    each = label(form=form)
    text = terminal_code(encode(each.payload), colour=colour, inverse=inverse)
    assert codes_in(seen(text, ink, paper)) == (each.payload.reveal().encode(),)


def test_every_coloured_line_sets_and_resets_its_colours() -> None:
    """Each line sets its colours at its start and resets them at its end."""
    text = terminal_code(encode(label(form="compact").payload), colour=True)
    assert all(line.startswith("\x1b[38;5;16;48;5;231m") and line.endswith("\x1b[0m") for line in text.splitlines())
    assert len({len(line) for line in text.splitlines()}) == 1


def test_a_small_code_in_the_terminal_is_exactly_this() -> None:
    """The code of one letter has this third line, and 15 lines of 29 characters with the quiet zone."""
    text = terminal_code(encode(Secret("A")), colour=False)
    assert text.splitlines()[2].startswith("    █▀▀▀▀▀█ ")
    assert [len(line) for line in text.splitlines()] == [29] * 15


def test_a_label_with_a_payload_of_other_letters_reads_back() -> None:
    """A payload with non-ASCII characters reads back: it is UTF-8 and compared as bytes."""
    each = Label("Lampe", "A1", "PROV_é", Secret("schlüssel"), Secret('{"pop":"schlüssel 灯"}'))
    assert read_png(make_png(each, AutomaticStyle(38.1, 21.17)).data) == (each.payload.reveal().encode(),)
