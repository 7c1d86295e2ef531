"""Tests of the reader of label styles: every complaint names file and key, and all come at once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rmfab.errors import ComplaintsError, InputError
from rmfab.label.content import Placeholder
from rmfab.label.layout import Box
from rmfab.label.style import Align, CodePosition, Shape, Weight, parse_label_size
from rmfab.label.style_file import FOLDER, load_style, read_style, style_files
from tests.label.sample import KHMER, style_of

HEAD = '[label]\nsize = "40x30"\n'
QR = "[qr]\n"


def complaints(folder: Path, text: str) -> list[str]:
    """Return the complaints about a style, with their hints."""
    with pytest.raises(ComplaintsError) as caught:
        style_of(folder, text)
    return [f"{one} ({one.hint})" for one in caught.value.complaints]


def test_a_style_of_three_lines(tmp_path: Path) -> None:
    """A size and [qr] are enough; everything else has a default."""
    style = style_of(tmp_path, HEAD + QR)
    assert (style.width, style.height, style.shape, style.copies, style.pop) == (40.0, 30.0, Shape.RECTANGLE, 1, True)
    assert style.qr is not None
    assert style.qr.position is CodePosition.LEFT
    assert style.texts == ()
    assert style.shows_pop


def test_a_whole_style(tmp_path: Path) -> None:
    """Every key arrives in the values."""
    style = style_of(
        tmp_path,
        '[label]\nsize = "50x30"\nmargin = 2\ngap = 0.5\ncopies = 2\ntitle = "mine"\nvalign = "top"\n'
        '[qr]\nposition = "right"\nlevel = "Q"\nquiet_zone = 3\nform = "json"\nside = 22\n'
        '[[text]]\ntext = "{{{product}}} of {batch}"\nsize = 8.5\nweight = "bold"\nalign = "right"\ncaption = "Lot"\n'
        'space = 1\n[[text]]\ntext = "{date}"\nbox = [1, 25, 20, 4]\n',
    )
    first, second = style.texts
    assert first.parts == ("{", Placeholder.PRODUCT, "}", " of ", Placeholder.BATCH)
    assert (first.size, first.weight, first.align, first.caption, first.space) == (
        8.5,
        Weight.BOLD,
        Align.RIGHT,
        "Lot",
        1.0,
    )
    assert second.box == Box(1, 25, 20, 4)
    assert style.flowing == (first,)
    assert style.placeholders == {Placeholder.PRODUCT, Placeholder.BATCH, Placeholder.DATE}
    assert style.qr is not None
    assert style.qr.level is not None
    assert (style.qr.quiet_zone, style.qr.level.name, style.qr.side) == (3, "Q", 22.0)


def test_a_style_for_a_sheet_has_the_size_of_its_labels(tmp_path: Path) -> None:
    """`sheet` stands in place of `size`."""
    style = style_of(tmp_path, '[label]\nsheet = "avery l7160"\n[qr]\n')
    assert (style.width, style.height, style.sheet) == (63.5, 38.1, "L7160")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (QR, ["[label] size: this key is required"]),
        ('[label]\nsize = "wide"\n[qr]\n', ['[label] size: "wide" is not a size', '"40x30"']),
        ('[label]\nsize = "400x30"\n[qr]\n', ['[label] size: "400x30" is not a size from 5 to 220 mm']),
        ('[label]\nsize = "40x30"\nsheet = "L7160"\n[qr]\n', ["[label] sheet: size and sheet exclude each other"]),
        ('[label]\nsheet = "L9999"\n[qr]\n', ['[label] sheet: unknown label sheet "L9999"', "known sheets"]),
        ('[label]\nsize = "40x30"\nshape = "round"\n[qr]\n', ["[label] size: a round label is as wide as high"]),
        ('[label]\nsize = "24"\nshape = "oval"\n[qr]\n', ['[label] shape: "oval" is not one of rectangle, round']),
        (
            '[label]\nsize = "24"\nshape = "round"\n[qr]\nposition = "left"\n',
            ["[qr] position: no room", "top or bottom"],
        ),
        (HEAD + 'colour = "red"\n' + QR, ["[label] colour: unknown key"]),
        (HEAD + "margin = nan\n" + QR, ["[label] margin: nan is not from 0.0 to 20.0"]),
        (HEAD + 'margin = "1"\n' + QR, ['[label] margin: expected a number, found "1"']),
        (HEAD + "copies = 0\n" + QR, ["[label] copies: 0 is not from 1 to 10"]),
        (HEAD + "pop = false\n" + QR, ["[qr]: the QR code contains the PoP, and pop is false"]),
        (
            HEAD + 'pop = false\n[[text]]\ntext = "{serial} {pop}"\n',
            ["[[text]] no. 1 text: {pop} is the PoP, and pop is false"],
        ),
        (HEAD + '[[text]]\ntext = "{serial}"\n', ["[label] pop: a label without [qr] and {pop}", "pop = false"]),
        (HEAD + "pop = false\n", ["[label]: the label is empty"]),
        (HEAD + QR + 'level = "X"\n', ['[qr] level: "X" is not an error correction level', "L, M, Q or H"]),
        (HEAD + QR + "quiet_zone = 0\n", ["[qr] quiet_zone: 0 is not from 2 to 10"]),
        (HEAD + QR + 'form = "xml"\n', ['[qr] form: "xml" is not one of json, compact']),
        (HEAD + QR + "[barcodes]\n", ['[barcodes]: unknown table (did you mean "barcode"?)']),
        (HEAD + QR + "[[texts]]\n", ['[texts]: unknown table (did you mean "text"?)']),
        (HEAD + QR + '[text]\ntext = "x"\n', ["[[text]]: expected an array of tables"]),
        (HEAD + QR + "[[text]]\nsize = 7\n", ["[[text]] no. 1 text: this key is required"]),
        (HEAD + QR + '[[text]]\ntext = ""\n', ["[[text]] no. 1 text: an empty text"]),
        (HEAD + QR + '[[text]]\ntext = "a\\nb"\n', ["[[text]] no. 1 text: expected one line"]),
        (
            HEAD + QR + '[[text]]\ntext = "{seriall}"\n',
            ['[[text]] no. 1 text: unknown placeholder "{seriall}"', '"serial"'],
        ),
        (HEAD + QR + '[[text]]\ntext = "{serial!r}"\n', ['unknown placeholder "{serial!r}"']),
        (HEAD + QR + '[[text]]\ntext = "a } b"\n', ['[[text]] no. 1 text: a single "}"', "}}"]),
        (HEAD + QR + '[[text]]\ntext = "x"\nsize = 4\n', ["[[text]] no. 1 size: 4 is not from 5.0 to 72.0"]),
        (HEAD + QR + '[[text]]\ntext = "x"\nweight = "light"\n', ['[[text]] no. 1 weight: "light" is not one of']),
        (HEAD + QR + '[[text]]\ntext = "x"\nbox = [1, 2, 3]\n', ["[[text]] no. 1 box: [1, 2, 3] is not a box"]),
        (HEAD + QR + '[[text]]\ntext = "x"\nbox = [1, 2, 0, 3]\n', ["[1, 2, 0, 3] is not a box"]),
        (HEAD + QR + '[[text]]\ntext = "x"\nbox = [1, 2, true, inf]\n', ["is not a box", "[left, top, width, height]"]),
        (HEAD + QR + '[[text]]\ntext = "灯"\n', ["[[text]] no. 1 text: the usual font lacks 灯", "[label] font"]),
        (HEAD + QR + '[[text]]\ntext = "x"\ncaption = "灯"\n', ["[[text]] no. 1 caption: the usual font lacks 灯"]),
        (HEAD + 'font = "gone.ttf"\n' + QR, ["[label] font: cannot use the font", "TrueType"]),
        (HEAD + QR + "[logo]\n", ["[logo] file: this key is required"]),
        (HEAD + QR + '[logo]\nfile = "gone.png"\n', ["[logo] file: ", "gone.png"]),
        (HEAD + QR + '[logo]\nfile = "mine.toml"\n', ["[logo] file: not a PNG"]),
        (HEAD + QR + '[logo]\nfile = "white.png"\n', ["[logo] file: the logo is white all over"]),
        (HEAD + QR + "[barcode]\n", ["[barcode] kind: this key is required", "datamatrix, code128"]),
        (HEAD + QR + '[barcode]\nkind = "ean"\n', ['[barcode] kind: "ean" is not one of datamatrix, code128']),
        (
            HEAD + QR + '[[text]]\ntext = "x"\nbox = [30, 20, 20, 5]\n',
            ["[[text]] no. 1 box: reaches to 50, 25 mm on a label of 40 x 30 mm"],
        ),
        (
            HEAD + QR + '[[text]]\ntext = "a"\nbox = [1, 1, 20, 5]\n[[text]]\ntext = "b"\nbox = [5, 3, 20, 5]\n',
            ["[[text]] no. 2 box: overlaps [[text]] no. 1", "move one of them"],
        ),
        (HEAD + QR + '[[text]]\ntext = "x"\nbox = [1, 10, 20, 5]\n', ["[[text]] no. 1 box: overlaps [qr]"]),
        (
            '[label]\nsize = "24"\nshape = "round"\n[qr]\n[[text]]\ntext = "x"\nbox = [0, 20, 24, 4]\n',
            ["[[text]] no. 1 box: a corner is 5.0 mm outside the round label"],
        ),
        (
            '[label]\nsize = "40x10"\n[qr]\n' + '[[text]]\ntext = "{serial}"\nsize = 12\n' * 3,
            ["[label] size: what flows is", "smaller type"],
        ),
        (
            '[label]\nsize = "20"\n[qr]\n' + '[[text]]\ntext = "{serial}"\nsize = 14\n' * 3,
            ["mm are left for the QR code"],
        ),
    ],
)
def test_complaints_name_file_and_key(tmp_path: Path, text: str, told: list[str]) -> None:
    """What is wrong is found when the file is read, and said with file, key and a hint."""
    Image.new("RGBA", (30, 20)).save(tmp_path / "white.png")
    found = "\n".join(complaints(tmp_path, text))
    assert f"{tmp_path}/mine.toml: " in found
    for words in told:
        assert words in found


def test_all_complaints_come_at_once(tmp_path: Path) -> None:
    """One reading of the file finds everything that is wrong with its keys."""
    text = (
        '[label]\nsize = "x"\nmargin = -1\n[qr]\nlevel = "Z"\n[[text]]\ntext = "{no}"\nsize = 1\n[barcode]\n[extra]\n'
    )
    assert len(complaints(tmp_path, text)) == 7


def test_a_font_with_the_letters(tmp_path: Path) -> None:
    """A style's font, relative to its file, is checked for every letter of the texts."""
    (tmp_path / "khmer.ttf").write_bytes(KHMER.read_bytes())
    style = style_of(tmp_path, HEAD + 'font = "khmer.ttf"\n' + QR + '[[text]]\ntext = "ឆន"\n')
    assert style.font == tmp_path / "khmer.ttf"
    found = complaints(tmp_path, HEAD + 'font = "khmer.ttf"\n' + QR + '[[text]]\ntext = "灯"\n')
    assert "the font khmer.ttf lacks 灯" in found[0]


def test_a_style_of_the_workspace_hides_a_shipped_one(tmp_path: Path) -> None:
    """The workspace's file wins, and an unknown name gets the nearest one as a hint."""
    assert "plug-40x30" in style_files(tmp_path)
    (tmp_path / FOLDER).mkdir(parents=True)
    style_of(tmp_path / FOLDER, '[label]\nsize = "30x20"\n[qr]\n', "plug-40x30")
    assert load_style(tmp_path, "plug-40x30").width == 30.0
    with pytest.raises(InputError) as caught:
        load_style(tmp_path, "plug-40x31")
    assert 'did you mean "plug-40x30"? `rmfab label --styles` lists them' in str(caught.value.hint)
    assert caught.value.cause == "unknown-style"


def test_complaints_about_a_style_of_the_workspace_name_its_path_there(tmp_path: Path) -> None:
    """The path is the one that the user edits, relative to the workspace."""
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / "a.toml").write_text('[label]\nsize = "x"\n[qr]\n')
    with pytest.raises(ComplaintsError, match=r"^templates/labels/a.toml: \[label\] size"):
        load_style(tmp_path, "a")


@pytest.mark.parametrize(
    ("text", "sides"),
    [
        ("40x30", (40.0, 30.0)),
        ("24", (24.0, 24.0)),
        ("25.4 x 10", (25.4, 10.0)),
        ("62\N{MULTIPLICATION SIGN}29", (62.0, 29.0)),
    ],
)
def test_sizes(text: str, sides: tuple[float, float]) -> None:
    """Width times height in mm; one number is a square or a diameter."""
    assert parse_label_size(text) == sides


@pytest.mark.parametrize("text", ["", "x", "40x", "-4x5", "4", "40x30x2", "1e2", "40,5x30", "999x10"])
def test_sizes_that_are_none(text: str) -> None:
    """Everything else is refused."""
    with pytest.raises(InputError):
        parse_label_size(text)


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(max_size=60)
    | st.lists(
        st.sampled_from(
            [
                "[label]",
                "[qr]",
                "[[text]]",
                "[text]",
                "[logo]",
                "[barcode]",
                'size = "40x30"',
                "size = 7",
                "box = [1,1,9,9]",
                "box = [9e9]",
                'text = "{serial}"',
                'text = "{}"',
                'kind = "datamatrix"',
                "pop = false",
                "flow = [0, 0, 9, 9]",
                'file = "/"',
            ]
        ),
        max_size=12,
    ).map("\n".join)
)
def test_any_file_is_a_style_or_an_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """No file crashes the reader."""
    path = tmp_path_factory.mktemp("style") / "any.toml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with suppress(InputError):
        assert read_style(path).width > 0
