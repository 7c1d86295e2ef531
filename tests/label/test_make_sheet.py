"""Sheets: every code is in its place and reads back from the finished page; the bytes are reproducible."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image, ImageDraw, ImageFilter

from rmfab.errors import InputError, IntegrityError
from rmfab.label.content import Label
from rmfab.label.design import draw_design
from rmfab.label.drawing import Drawing
from rmfab.label.make_sheet import make_sheet
from rmfab.label.pdf import sheet_pdf
from rmfab.label.readback import Expected, judge_page, page_images, read_page
from rmfab.label.sheets import SHEETS, Sheet, sheet
from rmfab.label.style_auto import AutomaticStyle
from rmfab.label.verify_sheet import verify_sheet
from tests.label.sample import label, labels

L7160 = sheet("L7160")


def drawings(wanted: list[Label], on: Sheet = L7160) -> list[Drawing]:
    """Return the drawings of *wanted*."""
    return [draw_design(each, AutomaticStyle(*on.label)).drawing for each in wanted]


def erased(drawing: Drawing) -> Drawing:
    """Return the same drawing with an empty symbol."""
    assert drawing.code is not None
    symbol = drawing.code.symbol
    blank = tuple(bytes(symbol.side) for _ in symbol.modules)
    return replace(drawing, code=replace(drawing.code, symbol=replace(symbol, modules=blank)))


@pytest.mark.parametrize("each", SHEETS, ids=str)
def test_every_sheet_reads_back(each: Sheet) -> None:
    """Seven labels from the third-last position fill two pages; outside the labels the page is white."""
    made = make_sheet(labels(7, "compact"), each, start_at=each.per_page - 2)
    assert (made.pages, made.labels) == (2, 7)
    for page in page_images(made.pdf, 100):
        draw = ImageDraw.Draw(page)
        for cell in each.cells():
            draw.rectangle([v / 25.4 * 100 for v in (cell.x, cell.y, cell.x + cell.width, cell.y + cell.height)], 255)
        assert page.getextrema()[0] == 255


@pytest.mark.parametrize("form", ["json", "json1", "compact"])
def test_every_payload_form_reads_back(form: str) -> None:
    """JSON of both security schemes and the compact form read back byte for byte."""
    assert make_sheet(labels(3, form), L7160).pages == 1


@pytest.mark.parametrize(("count", "start_at", "pages"), [(1, 1, 1), (21, 1, 1), (21, 2, 2), (22, 1, 2), (1, 21, 1)])
def test_part_used_sheets(count: int, start_at: int, pages: int) -> None:
    """The first label is at *start_at*, and the last page may be partly filled."""
    made = make_sheet(labels(count, "compact"), L7160, 150, start_at)
    assert made.pages == pages == len(list(page_images(made.pdf, 20)))
    first = read_page(next(page_images(made.pdf, 150)), L7160, 150)
    assert [reading.blank for reading in first[: start_at - 1]] == [True] * (start_at - 1)
    assert first[start_at - 1].codes == (label(1, "compact").payload.reveal().encode(),)


@pytest.mark.parametrize("start_at", [0, -1, 22])
def test_a_start_beyond_the_sheet_is_refused(start_at: int) -> None:
    """A start outside labels 1 to 21 of L7160 is rejected."""
    with pytest.raises(InputError) as refused:
        make_sheet(labels(1), L7160, start_at=start_at)
    assert "1 to 21" in str(refused.value.hint)


def test_no_labels_make_no_sheet() -> None:
    """An empty list of labels is an error, not an empty page."""
    with pytest.raises(InputError):
        make_sheet([], L7160)


def test_the_same_labels_give_the_same_bytes() -> None:
    """A PDF contains no time, host or random id, and does not depend on the number of processes."""
    wanted = labels(205, "compact")
    many = sheet("L4731")
    made = make_sheet(wanted, many, 200).pdf
    assert made == sheet_pdf(drawings(wanted, many), many)
    assert b"20000101000000" in made


def test_swapped_codes_are_caught() -> None:
    """The error for swapped codes has both serials, the page and the position."""
    one, two, three = labels(3)
    with pytest.raises(IntegrityError) as caught:
        verify_sheet(sheet_pdf(drawings([one, three, two]), L7160), [one, two, three], L7160)
    assert str(caught.value) == "page 1, label 2: the label of LMP-000002 has the code of LMP-000003"


def test_a_code_of_nobody_is_caught() -> None:
    """A payload of none of the sheet's labels is a mismatch, and the error does not show it."""
    with pytest.raises(IntegrityError) as caught:
        verify_sheet(sheet_pdf(drawings([label(9)]), L7160), [label(1)], L7160)
    assert "has an unknown code" in str(caught.value)
    assert "5ec2" not in f"{caught.value!r}{caught.value}{caught.value.hint}"


def test_an_erased_code_is_caught() -> None:
    """A label with text but without a code cannot be read back."""
    wanted = labels(2)
    one, two = drawings(wanted)
    with pytest.raises(IntegrityError) as caught:
        verify_sheet(sheet_pdf([one, erased(two)], L7160), wanted, L7160)
    assert caught.value.cause == "label-unreadable"
    assert str(caught.value) == "page 1, label 2: the code of LMP-000002 cannot be read back"


def test_a_missing_label_and_one_too_many_are_caught() -> None:
    """A missing label and a label in a position that should be blank are errors."""
    wanted = labels(3)
    with pytest.raises(IntegrityError, match="LMP-000003"):
        verify_sheet(sheet_pdf(drawings(wanted[:2]), L7160), wanted, L7160)
    with pytest.raises(IntegrityError, match="label 3: a label that should be blank"):
        verify_sheet(sheet_pdf(drawings(wanted), L7160), wanted[:2], L7160)


def test_a_sheet_moved_by_one_place_is_caught() -> None:
    """A code must be in its position, not only somewhere on the page."""
    wanted = labels(2)
    with pytest.raises(IntegrityError):
        verify_sheet(sheet_pdf(drawings(wanted), L7160, start_at=2), wanted, L7160)


def test_a_fault_among_hundreds_is_caught() -> None:
    """A wrong code is found on pages that are read back in other processes."""
    wanted = labels(210, "compact")
    drawn = drawings(wanted)
    drawn[207] = drawn[206]
    with pytest.raises(IntegrityError, match="page 10, label 19: the label of LMP-000208 has the code of LMP-000207"):
        verify_sheet(sheet_pdf(drawn, L7160), wanted, L7160, 150)


def test_a_refusal_in_another_process_arrives_whole() -> None:
    """The error of a label that does not fit keeps its place and hint from a worker process."""
    tiny = Sheet("tiny", (210.0, 297.0), (20.0, 7.0), 10, 30, (1.0, 1.0), (20.5, 9.0))
    with pytest.raises(InputError) as refused:
        make_sheet(labels(201), tiny)
    assert refused.value.where == "LMP-000001"
    assert "compact" in str(refused.value.hint)


@pytest.mark.parametrize("damage", ["blurred", "scratched", "inverted"])
def test_a_damaged_page_is_caught(damage: str) -> None:
    """A page with a code that was damaged after drawing is rejected."""
    wanted = labels(4)
    (page,) = page_images(sheet_pdf(drawings(wanted), L7160), 300)
    cell = list(L7160.cells())[2]
    box = tuple(round(v * 300 / 25.4) for v in (cell.x, cell.y, cell.x + cell.width, cell.y + cell.height))
    part = page.crop(box)
    if damage == "blurred":
        part = part.filter(ImageFilter.GaussianBlur(14))
    elif damage == "inverted":
        part = part.point([255 - level for level in range(256)])
    else:
        ImageDraw.Draw(part).rectangle((60, 120, 330, 260), fill=255)
    page.paste(part, box)
    expected = [Expected(each.serial, each.payload) for each in wanted] + [None] * 17
    with pytest.raises(IntegrityError, match="LMP-000003"):
        judge_page(read_page(page, L7160, 300), expected, 1, {})


def test_a_resolution_too_low_to_read_back_is_refused() -> None:
    """Fewer than two dots per module are rejected, and the hint has a sufficient resolution."""
    with pytest.raises(InputError) as refused:
        make_sheet(labels(1), L7160, dpi=60)
    assert "[label] dpi" in str(refused.value.hint)


def test_warnings_are_counted_and_carry_no_secret() -> None:
    """Each warning is given once, with the number of labels, and shows neither PoP nor payload."""
    made = make_sheet(labels(3), sheet("L4731"))
    assert made.warnings[0].what.startswith("the QR code has modules of 0.22 mm")
    assert made.warnings[0].what.endswith("(3 labels)")
    assert not re.search("5ec2|ver", repr(made))


def test_the_text_of_a_page_can_be_searched() -> None:
    """Product, serial and service name are text in the PDF, not drawings."""
    document = pypdfium2.PdfDocument(make_sheet(labels(1), L7160).pdf)
    text = document[0].get_textpage().get_text_range()
    assert {"Desk Lamp", "LMP-000001", "PROV_000001"} <= set(re.split(r"\r?\n| (?=LMP|PROV)", text)) | set(text.split())
    document.close()


def test_the_page_asks_to_be_printed_at_full_size() -> None:
    """The PDF requests printing without scaling, and its page has the sheet's size."""
    pdf = make_sheet(labels(1), L7160).pdf
    assert b"/PrintScaling /None" in pdf
    (page,) = page_images(pdf, 254)
    assert page.size == (2100, 2970)


def test_cut_marks_do_not_disturb_reading_back() -> None:
    """Cut marks are drawn on request, and blank positions still read as blank."""
    with_marks = make_sheet(labels(2), L7160, cut_marks=True).pdf
    assert with_marks != make_sheet(labels(2), L7160).pdf


@pytest.mark.skipif(shutil.which("zbarimg") is None, reason="zbarimg is not installed")
def test_another_decoder_agrees(tmp_path: Path) -> None:
    """zbar reads every code of a page, too."""
    wanted = labels(21)
    (page,) = page_images(make_sheet(wanted, L7160).pdf, 300)
    page.save(tmp_path / "page.png")
    read = subprocess.run(["zbarimg", "-q", "--raw", tmp_path / "page.png"], capture_output=True, text=True, check=True)
    assert sorted(read.stdout.split()) == sorted(each.payload.reveal() for each in wanted)


def test_a_png_of_the_page_is_grey() -> None:
    """The page is rasterised in greyscale, 8 bits per dot."""
    (page,) = page_images(make_sheet(labels(1), L7160).pdf, 72)
    stream = io.BytesIO()
    page.save(stream, "PNG")
    assert Image.open(stream).mode == "L"
