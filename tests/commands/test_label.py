"""Tests of `rmfab label`: sheets, pictures, terminal; prints are recorded; void units and bad paths are rejected."""

from __future__ import annotations

import ctypes
import io
import json
import os
import re
from pathlib import Path

import PIL.Image
import pypdfium2
import pyte
import pytest
import zxingcpp
from rich.cells import cell_len

from rmfab.commands.terminal import table
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.events import Event, EventKind
from rmfab.ledger.states import State
from rmfab.workspace.workspace import open_workspace
from tests.label.sample import KHMER
from tests.terminal import Terminal, dialogue, files


def expected(folder: Path) -> dict[str, str]:
    """Return the PoP of each serial, from the sealed ledger."""
    workspace = open_workspace(folder)
    return {one.serial: workspace.open_identity(one).pop.reveal() for one in workspace.ledger.identities("lamp-0001")}


def pops(image: PIL.Image.Image) -> set[str]:
    """Return the PoP of every code in a picture, read by an independent decoder."""
    return {json.loads(code.text)["pop"] for code in zxingcpp.read_barcodes(image)}


def events(folder: Path, serial: str) -> int:
    with open_workspace(folder).ledger as ledger:
        return sum(1 for stored in ledger.history(serial) if stored.event.kind.value == "label")


def test_a_sheet(terminal: Terminal, lamp: Path) -> None:
    """The PDF of a batch contains every unit's code and text; it is 0600; a second run gives the same bytes."""
    assert terminal.well("-C", lamp, "label", "lamp-0001", "-o", "l.pdf") == ""
    data = Path("l.pdf").read_bytes()
    assert Path("l.pdf").stat().st_mode & 0o777 == 0o600
    document = pypdfium2.PdfDocument(data)
    assert len(document) == 1
    assert pops(document[0].render(scale=300 / 72).to_pil()) == set(expected(lamp).values())
    text = document[0].get_textpage().get_text_bounded().replace(" ", "")
    for serial, pop in expected(lamp).items():
        assert serial in text
        assert pop in text
    document.close()
    terminal.well("-C", lamp, "label", "lamp-0001", "-o", "l.pdf")
    assert Path("l.pdf").read_bytes() == data
    assert events(lamp, "LMP-000001") == 2
    assert terminal.well("-C", lamp, "status").splitlines()[1].split()[-1] == "3"
    assert "labelled      2 times" in terminal.well("-C", lamp, "trace", "LMP-000001")


def test_pictures(terminal: Terminal, lamp: Path) -> None:
    """One unit becomes a PNG or SVG, several become a folder of them; each code is read back."""
    terminal.well("-C", lamp, "label", "LMP-000002", "-o", "u.png")
    assert pops(PIL.Image.open("u.png")) == {expected(lamp)["LMP-000002"]}
    terminal.well("-C", lamp, "label", "LMP-000002", "-o", "u.svg")
    assert "<svg" in Path("u.svg").read_text()
    terminal.well("-C", lamp, "label", "lamp-0001", "-o", "pictures", "--format", "png")
    for name, data in files(Path("pictures")).items():
        assert pops(PIL.Image.open(io.BytesIO(data))) == {expected(lamp)[name.removesuffix(".png")]}
    assert Path("pictures").stat().st_mode & 0o777 == 0o700
    terminal("-C", lamp, "label", "lamp-0001", "-o", "x.png").refused(3, "do not fit in one .png")


def test_on_the_terminal(terminal: Terminal, lamp: Path) -> None:
    """Without -o the code is text on stdout, beside serial and PoP; too many codes are rejected."""
    out = terminal.well("-C", lamp, "label", "LMP-000003", "LMP-000003")
    assert re.search(r"   LMP-000003\n.*   PROV_\w+\n.*   PoP \w+\n", out)
    assert out.count("PoP") == 1
    assert "█" in out
    assert "\x1b" not in out
    terminal.well("-C", lamp, "generate", "--count", "9", "--batch", "nine")
    terminal("-C", lamp, "label", "nine").refused(3, "too many for a terminal", "-o labels.pdf")


def test_start_at(terminal: Terminal, lamp: Path) -> None:
    """A partly used sheet continues at its first free label, and on the next page."""
    terminal.well("-C", lamp, "label", "lamp-0001", "--start-at", "64", "-o", "l.pdf")
    document = pypdfium2.PdfDocument("l.pdf")
    assert [len(pops(page.render(scale=300 / 72).to_pil())) for page in document] == [2, 1]
    document.close()
    terminal("-C", lamp, "label", "lamp-0001", "--start-at", "66", "-o", "m.pdf").refused(3, "no label 66")
    terminal("-C", lamp, "label", "lamp-0001", "--start-at", "0", "-o", "m.pdf").refused(2, "--start-at")
    assert not Path("m.pdf").exists()


@pytest.mark.parametrize(
    ("argv", "code", "told"),
    [
        (("nope", "-o", "l.pdf"), 3, "neither a batch nor a serial"),
        (("LMP-000009", "-o", "l.pdf"), 3, "the ledger has serials from LMP-000001 to LMP-000003"),
        (("lamp-0001", "-o", "l.doc"), 2, "not a .pdf, .png or .svg"),
        (("lamp-0001", "--sheet", "L9999", "-o", "l.pdf"), 3, "--sheet: "),
        (("lamp-0001", "-o", "nowhere/l.pdf"), 3, "nowhere/l.pdf"),
        (("lamp-0001", "--format", "pdf"), 2, "-o FILE"),
        (("lamp-0001", "--format", "terminal", "-o", "x"), 2, "-o FILE"),
        ((), 2, "BATCH|SERIAL"),
    ],
    ids=["unknown", "unknown serial", "suffix", "sheet", "folder", "no -o", "terminal -o", "nothing"],
)
def test_bad_arguments(terminal: Terminal, lamp: Path, argv: tuple[str, ...], code: int, told: str) -> None:
    """A unit that cannot be labelled and a path that cannot be written are errors, and no print is recorded."""
    terminal("-C", lamp, "label", *argv).refused(code, told)
    assert events(lamp, "LMP-000001") == 0


def test_other_content_and_void_units(terminal: Terminal, lamp: Path) -> None:
    """A file with different content is kept without --force; a void unit gets no label, alone or in its batch."""
    Path("l.pdf").write_text("mine")
    terminal("-C", lamp, "label", "lamp-0001", "-o", "l.pdf").refused(3, "l.pdf", "--force")
    assert Path("l.pdf").read_text() == "mine"
    assert events(lamp, "LMP-000001") == 0
    terminal.well("-C", lamp, "void", "LMP-000002", "--reason", "x")
    terminal("-C", lamp, "label", "LMP-000001", "LMP-000002", "-o", "m.pdf").refused(3, "LMP-000002", "void")
    terminal.well("-C", lamp, "label", "lamp-0001", "-o", "pngs", "--format", "png")
    assert sorted(files(Path("pngs"))) == ["LMP-000001.png", "LMP-000003.png"]


def test_a_sheet_of_product_toml_that_is_none(terminal: Terminal, lamp: Path) -> None:
    """An unknown sheet in product.toml is reported with its key path."""
    path = lamp / "product.toml"
    path.write_text(path.read_text().replace('"L7651"', '"L9999"'))
    terminal("-C", lamp, "label", "lamp-0001", "-o", "l.pdf").refused(3, "product.toml: [label] sheet", "L7651")


def test_units_that_are_not_verified(terminal: Terminal, lamp: Path) -> None:
    """Labels for units that are not verified yet are made with a message; a failed unit gets none."""
    said = terminal("-C", lamp, "label", "lamp-0001", "-o", "early.pdf")
    assert said.code == 0
    assert "3 of 3 labels are for units that are not verified yet" in said.err
    assert "printed before" not in said.err
    said = terminal("-C", lamp, "label", "LMP-000002")
    assert "1 of 1 label is for a unit that is not verified yet" in said.err
    assert "1 of these was printed before" in said.err
    with open_workspace(lamp).ledger as ledger:
        ledger.claim("24:0a:c4:00:00:01", Wish("lamp", serial="LMP-000002"), station="t", ts="2026-01-01T00:00:00.000Z")
        failed = Event("2026-01-01T00:00:01.000Z", EventKind.UNIT, serial="LMP-000002", state=State.FAILED)
        ledger.record("t", [failed])
    terminal("-C", lamp, "label", "LMP-000002", "-o", "one.pdf").refused(3, "LMP-000002", "failed", "void")
    said = terminal("-C", lamp, "label", "lamp-0001", "-o", "rest.pdf")
    assert said.code == 0
    assert "skipped 1 unit of lamp-0001 that failed" in said.err
    assert "2 of these were printed before" in said.err
    document = pypdfium2.PdfDocument(Path("rest.pdf").read_bytes())
    told = expected(lamp)
    assert pops(document[0].render(scale=300 / 72).to_pil()) == {told["LMP-000001"], told["LMP-000003"]}
    document.close()


def fonts(path: Path) -> set[tuple[bool, str]]:
    """Return whether each font that a page uses is embedded, as PDFium sees it."""
    found: set[tuple[bool, str]] = set()
    document = pypdfium2.PdfDocument(path)
    for item in document[0].get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_TEXT]):
        font = pypdfium2.raw.FPDFTextObj_GetFont(item.raw)
        name = ctypes.create_string_buffer(100)
        pypdfium2.raw.FPDFFont_GetBaseFontName(font, name, 100)
        found.add((bool(pypdfium2.raw.FPDFFont_GetIsEmbedded(font)), name.value.decode()))
    document.close()
    return found


def test_every_font_of_a_sheet_is_embedded(terminal: Terminal, lamp: Path) -> None:
    """A sheet looks the same on every printer: it uses no font that it does not contain."""
    terminal.well("-C", lamp, "label", "lamp-0001", "-o", "l.pdf")
    assert {embedded for embedded, _ in fonts(Path("l.pdf"))} == {True}


@pytest.mark.parametrize("output", ["l.pdf", "l.png", "l.svg"])
def test_a_name_with_letters_that_the_font_lacks(terminal: Terminal, output: str) -> None:
    """Such a name is rejected with its letters and a hint, and nothing is recorded; with a font it is printed."""
    terminal.well("init", "w", "--name", "ឆន ឆ", "--serial", "S-{n}", "--cloud-claim")
    batch = terminal.well("-C", "w", "generate", "--count", "1").strip()
    said = terminal("-C", "w", "label", batch, "-o", output)
    said.refused(3, "lacks letters of the product's name: ឆន", "[label] font", 'font = "')
    assert not Path(output).exists()
    assert events(Path("w"), "S-1") == 0
    product = Path("w/product.toml")
    text = product.read_text()
    product.write_text(text.replace("[label]\n", f'[label]\nfont = "{KHMER}"\n'))
    terminal.well("-C", "w", "label", batch, "--sheet", "L7160", "-o", output)
    if output == "l.pdf":
        assert any("Khmer" in name for _, name in fonts(Path(output))), fonts(Path(output))
        assert {embedded for embedded, _ in fonts(Path(output))} == {True}


def test_a_font_that_is_none(terminal: Terminal, lamp: Path) -> None:
    """A font that is missing or not TrueType is an error of product.toml."""
    product = lamp / "product.toml"
    text = product.read_text()
    for font in ("gone.ttf", "product.toml"):
        product.write_text(text.replace("[label]\n", f'[label]\nfont = "{font}"\n'))
        terminal("-C", lamp, "label", "lamp-0001", "-o", "l.pdf").refused(3, "cannot use this font", "TrueType")
        assert not Path("l.pdf").exists()


def test_tables_count_cells(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns of a table line up on a terminal, where a Chinese letter takes two places."""
    table(("name", "n"), [("智能灯", 1), ("lamp", 20)])
    lines = capsys.readouterr().out.splitlines()
    assert len({cell_len(line) for line in lines}) == 1, lines


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
@pytest.mark.parametrize("columns", [80, 50])
def test_a_code_on_a_small_terminal(lamp: Path, columns: int) -> None:
    """On a terminal of 24 lines serial, name and PoP stay visible, and the code except part of its quiet zone."""
    code, screen = dialogue("label", "LMP-000001", cwd=lamp, answers=(), COLUMNS=str(columns))
    assert code == 0
    shown = pyte.Screen(columns, 24)
    pyte.Stream(shown).feed(screen)
    text = "\n".join(shown.display)
    assert all(word in text for word in ("LMP-000001", "PROV_", "PoP "))
    first = next(line for line in shown.display if "\u2580" in line)
    assert first.startswith("    \u2588\u2580\u2580\u2580\u2580\u2580\u2588")
    assert shown.cursor.x == 0
