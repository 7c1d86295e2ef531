"""Tests of a label in a style: what is printed, shortened, left out or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from rmfab.errors import InputError, IntegrityError
from rmfab.label.compose import compose
from rmfab.label.content import NO_FACTS, Placeholder
from rmfab.label.design import dot_of
from rmfab.label.drawing import Drawing
from rmfab.label.fonts import width_on_paper
from rmfab.label.print_raster import judge_image, label_raster
from rmfab.label.style import LabelStyle
from rmfab.label.text import MM
from rmfab.secret import Secret
from tests.label.sample import FACTS, KHMER, NODE_ID, known, label, style_of

HEAD = '[label]\nsize = "60x40"\n[qr]\nside = 22\n'
DOT = dot_of(203)
CHINESE = Path("/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc")


def texts(drawing: Drawing) -> list[str]:
    return [each.text for each in drawing.texts]


def of(folder: Path, *lines: str, head: str = HEAD) -> LabelStyle:
    """Return a style with these texts, each with the keys after a semicolon."""
    tables = (line.partition(";") for line in lines)
    return style_of(folder, head + "".join(f'[[text]]\ntext = "{text}"\n{keys}\n' for text, _, keys in tables))


def test_every_placeholder_is_replaced(tmp_path: Path) -> None:
    """Each has the text of the unit; a MAC is printed as on the board."""
    style = of(tmp_path, *(f"{{{each}}};size = 5" for each in Placeholder if each is not Placeholder.POP))
    assert texts(compose(known(), style).drawing) == [
        "Desk Lamp",
        "LMP-000001",
        "PROV_000001",
        "24:0A:C4:00:00:01",
        NODE_ID,
        "lamp-0001",
        "1.4.0",
        "2026-11-28",
        "A1",
    ]


def test_a_pop_alone_is_grouped_by_a_gap_that_is_no_space(tmp_path: Path) -> None:
    """Groups of four are easier to copy, and no one types a space."""
    first, second = compose(known(), of(tmp_path, "{pop}")).drawing.texts
    assert (first.text, second.text) == ("5ec2", "e701")
    end = first.x + width_on_paper(first.text, first.font, first.size)
    assert 0.2 * first.size * MM < second.x - end < 0.4 * first.size * MM


def test_what_is_not_known_yet_is_left_out_with_a_warning(tmp_path: Path) -> None:
    """Before the claim there is no MAC: the whole line is left out, and what follows moves up."""
    style = of(tmp_path, "{serial}", "MAC {mac}", "{batch}", head=HEAD.replace("[qr]", 'valign = "top"\n[qr]'))
    early = replace(known(), facts=replace(FACTS, mac=""))
    made, whole = compose(early, style), compose(known(), style)
    assert texts(made.drawing) == ["LMP-000001", "lamp-0001"]
    assert [each.what for each in made.warnings] == [
        "mac not known yet: [[text]] no. 2 of style mine is left out",
    ]
    assert made.drawing.texts[1].baseline == pytest.approx(whole.drawing.texts[1].baseline)
    boxed = of(tmp_path, "{serial}", "{mac};box = [30, 34, 28, 5]")
    assert texts(compose(early, boxed).drawing) == ["LMP-000001"]


def test_a_product_without_a_pop_has_no_line_for_it(tmp_path: Path) -> None:
    """That is no reason for a warning: the product has none."""
    one = replace(label(), pop=Secret(""))
    made = compose(one, of(tmp_path, "{serial}", "{pop}"))
    assert (texts(made.drawing), made.warnings) == (["LMP-000001"], ())


def test_a_wide_text_becomes_smaller_and_then_shorter(tmp_path: Path) -> None:
    """A product name shrinks to 5 pt, then gets an ellipsis and a warning."""
    style = of(tmp_path, "{product};size = 12\nbox = [30, 1, 28, 5]")
    one, many, endless = (compose(known(product="Lamp " * n), style) for n in (1, 4, 40))
    assert one.drawing.texts[0].size == 12
    assert 5 <= many.drawing.texts[0].size < 12
    assert texts(many.drawing) == [("Lamp " * 4).strip()]
    assert texts(endless.drawing)[0].endswith("…")
    assert [each.what for each in endless.warnings] == ["[[text]] no. 1 of style mine is shortened"]
    for made in (one, many, endless):
        (drawn,) = made.drawing.texts
        assert width_on_paper(drawn.text, drawn.font, drawn.size) <= 28


@pytest.mark.parametrize("text", ["{serial}", "{pop}", "{product} {serial}", "{node_id}"])
@pytest.mark.parametrize("dot", [None, DOT])
def test_numbers_are_printed_in_full_or_refused(tmp_path: Path, text: str, dot: float | None) -> None:
    """A shortened serial or PoP is worse than none; the error has place, widths and no secret."""
    style = of(tmp_path, f"{text};box = [30, 1, 5, 5]")
    with pytest.raises(InputError) as caught:
        compose(known(), style, dot)
    assert caught.value.cause == "label-text"
    assert caught.value.where == "LMP-000001, style mine"
    assert "mm wide at 5 pt, and has 5.0 mm" in caught.value.what
    assert "5ec2" not in f"{caught.value}{caught.value.hint}"


def test_labels_of_a_batch_look_alike(tmp_path: Path) -> None:
    """Serials and PoPs of different digits have one size, although their widths differ."""
    style = of(tmp_path, "{serial};size = 20", "{service_name};size = 20", "{pop};size = 20")
    sizes = {tuple(each.size for each in compose(known(n), style, DOT).drawing.texts) for n in (1, 4444, 11111, 88888)}
    assert len(sizes) == 1


def test_captions_stand_in_one_column(tmp_path: Path) -> None:
    """Texts beside captions start at one edge, whatever the captions are."""
    style = of(tmp_path, '{serial};caption = "SN"', '{service_name};caption = "Device"', "{batch}")
    drawn = {each.text: each for each in compose(known(), style).drawing.texts}
    assert drawn["LMP-000001"].x == drawn["PROV_000001"].x > drawn["SN"].x == drawn["Device"].x == drawn["lamp-0001"].x
    assert drawn["SN"].size < drawn["LMP-000001"].size


@pytest.mark.parametrize(("align", "share"), [("left", 0.0), ("center", 0.5), ("right", 1.0)])
def test_alignment(tmp_path: Path, align: str, share: float) -> None:
    """A text stands left, in the middle or right in its box, on dots to half a dot."""
    style = of(tmp_path, f'{{serial}};align = "{align}"\nbox = [30, 1, 28, 5]')
    for dot in (None, DOT):
        (drawn,) = compose(known(), style, dot).drawing.texts
        image = label_raster(known(), style, 203).raster.image().crop((240, 0, 480, 50))
        left, _, right, _ = image.point([255] * 128 + [0] * 128).getbbox() or (0, 0, 0, 0)
        assert left / 8 == pytest.approx((28 - (right - left) / 8) * share, abs=0.5)
        assert drawn.x >= 30 - DOT


def test_a_form_that_the_product_does_not_have_is_refused(tmp_path: Path) -> None:
    """A style for the compact form does not print JSON, nor the other way round."""
    compact = style_of(tmp_path, '[label]\nsize = "30"\n[qr]\nform = "compact"\n')
    compose(label(form="compact"), compact)
    with pytest.raises(InputError, match="made for the compact form") as caught:
        compose(label(), compact)
    assert "CONFIG_APP_NETWORK_PROV_COMPACT_QR" in str(caught.value.hint)
    with pytest.raises(InputError, match="made for a QR code in JSON"):
        compose(label(form="compact"), style_of(tmp_path, '[label]\nsize = "30"\n[qr]\nform = "json"\n'))


def test_level_and_quiet_zone_are_those_of_the_style(tmp_path: Path) -> None:
    """A style may ask for level H and for a wider quiet zone."""
    style = style_of(tmp_path, '[label]\nsize = "30"\n[qr]\nlevel = "H"\nquiet_zone = 6\n')
    code = compose(label(), style, DOT).drawing.code
    assert code is not None
    assert (code.symbol.level.name, code.quiet_zone) == ("H", 6)
    assert min(code.x, code.y) >= 6 * code.module - DOT


def test_letters_that_no_font_has_are_refused(tmp_path: Path) -> None:
    """The letters are named, unless they are those of a PoP."""
    with pytest.raises(InputError, match="lacks letters of this text: 灯") as caught:
        compose(known(product="灯"), of(tmp_path, "{product}"))
    assert (caught.value.cause, caught.value.where) == ("label-font", "style mine: [[text]] no. 1 text")
    secret = replace(known(), pop=Secret("灯灯灯灯"))
    with pytest.raises(InputError, match="lacks letters of the PoP") as caught:
        compose(secret, of(tmp_path, "{pop}"))
    assert "灯" not in str(caught.value)


def test_the_font_of_product_toml_helps_out(tmp_path: Path) -> None:
    """A product name whose letters the usual font lacks is set in `[label] font` of product.toml."""
    style = replace(of(tmp_path, "{product}", "{serial}"), product_font=KHMER)
    name, serial = compose(known(product="ឆន"), style).drawing.texts
    assert name.font.path == KHMER
    assert serial.font.path != KHMER


@pytest.mark.skipif(not CHINESE.exists(), reason="fonts-wqy-zenhei is not installed")
@pytest.mark.parametrize("dpi", [203, 300])
def test_a_chinese_label(tmp_path: Path, dpi: int) -> None:
    """With a Chinese font the whole label is set in it, and its glyphs are on the bitmap."""
    head = f'[label]\nsize = "60x40"\nfont = "{CHINESE}"\n[qr]\nside = 22\n'
    style = of(
        tmp_path, '{product};weight = "bold"\nsize = 9', '{serial};caption = "序列号"', "批次 {batch}", head=head
    )
    made = label_raster(known(product="智能台灯"), style, dpi)
    assert texts(made.drawing) == ["智能台灯", "序列号", "LMP-000001", "批次 lamp-0001"]
    assert {each.font.path for each in made.drawing.texts} == {CHINESE}
    blank = label_raster(replace(known(product="    x"), facts=NO_FACTS), style, dpi)
    assert black(made.raster.image()) > black(blank.raster.image())


def black(image: Image.Image) -> int:
    return image.histogram()[0]


def logo(path: Path, size: tuple[int, int] = (200, 100)) -> None:
    """Write a logo: a grey ramp from black to white, with a transparent right half."""
    image = Image.linear_gradient("L").rotate(90).resize(size).convert("RGBA")
    image.paste((0, 0, 0, 0), (size[0] // 2, 0, *size))
    image.save(path)


@pytest.mark.parametrize("method", ["threshold", "dither"])
def test_a_logo_keeps_its_proportions_and_is_black_and_white(tmp_path: Path, method: str) -> None:
    """It fits its box, transparent is white, and a dithered grey is a pattern."""
    logo(tmp_path / "logo.png")
    style = style_of(tmp_path, HEAD + f'[logo]\nfile = "logo.png"\nmethod = "{method}"\nbox = [30, 2, 20, 20]\n')
    made = label_raster(known(), style, 203)
    assert made.drawing.logo is not None
    assert (made.drawing.logo.width, made.drawing.logo.height) == (20.0, 10.0)
    image = made.raster.image().crop((240, 56, 400, 136))
    assert sum(image.histogram()[1:255]) == 0
    left, right = image.crop((0, 0, 80, 80)), image.crop((80, 0, 160, 80))
    assert right.getextrema() == (255, 255)
    runs = sum(left.getpixel((x, 40)) != left.getpixel((x + 1, 40)) for x in range(79))
    assert runs > 10 if method == "dither" else runs <= 1


def test_a_logo_in_the_quiet_zone_cannot_be(tmp_path: Path) -> None:
    """A box of a logo that overlaps the code is a complaint, and a black logo at its edge would not pass either."""
    logo(tmp_path / "logo.png")
    with pytest.raises(InputError, match="overlaps \\[qr\\]"):
        style_of(tmp_path, HEAD + '[logo]\nfile = "logo.png"\nbox = [20, 10, 20, 10]\n')


@pytest.mark.parametrize("kind", ["datamatrix", "code128"])
def test_a_second_code_that_has_no_room_is_refused(tmp_path: Path, kind: str) -> None:
    """The hint says how much room is enough."""
    style = style_of(tmp_path, HEAD + f'[barcode]\nkind = "{kind}"\nbox = [30, 2, 3, 3]\n')
    with pytest.raises(InputError, match=f"the {kind} code has no room") as caught:
        compose(known(), style, DOT)
    assert caught.value.cause == "code-too-small"
    assert "mm of width" in str(caught.value.hint)


def test_a_second_code_is_read_back(tmp_path: Path) -> None:
    """A barcode with a white stripe through all its bars is not printed."""
    style = style_of(tmp_path, HEAD + '[barcode]\nkind = "code128"\nbox = [0, 31, 60, 8]\n')
    made = label_raster(known(), style, 203)
    image = made.raster.image()
    judge_image(image, known(), made.drawing, DOT)
    image.paste(255, (200, 240, 240, 320))
    with pytest.raises(IntegrityError, match="the second code of LMP-000001 cannot be read back"):
        judge_image(image, known(), made.drawing, DOT)
