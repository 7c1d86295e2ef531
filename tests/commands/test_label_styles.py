"""Tests of `rmfab label` with styles: sizes, sheets, previews, the list, and what the ledger records."""

from __future__ import annotations

import json
from pathlib import Path

import PIL.Image
import pypdfium2
import pytest
import zxingcpp

from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.events import Event, EventKind
from rmfab.ledger.states import State
from rmfab.virtual.printers.serving import serve_printer
from rmfab.virtual.printers.spec import PrinterKind, VirtualPrinterSpec
from rmfab.workspace.workspace import open_workspace
from tests.commands.test_label import events, expected, pops
from tests.terminal import Terminal

PLUG = ("--style", "plug-40x30")
NAMES = ["minimal-10", "module-15", "pack-62x29", "plug-40x30", "round-24"]


def pages(path: str) -> list[list[str]]:
    """Return the texts of the codes on each page of a PDF."""
    document = pypdfium2.PdfDocument(path)
    found = [[code.text for code in zxingcpp.read_barcodes(page.render(scale=300 / 72).to_pil())] for page in document]
    document.close()
    return found


def size_of(path: str) -> tuple[int, int]:
    """Return width and height of a picture."""
    with PIL.Image.open(path) as image:
        return image.size


def verify(folder: Path, serial: str, mac: str) -> None:
    """Let the ledger have a verified unit on the board *mac*, flashed with release 1.4.0."""
    with open_workspace(folder).ledger as ledger:
        ledger.claim(mac, Wish("lamp", serial=serial), station="t", ts="2026-01-02T10:00:00.000Z")
        release = {"version": "1.4.0", "digest": "0" * 64, "signers": []}
        flashed = Event(
            "2026-01-02T10:00:01.000Z",
            EventKind.UNIT,
            serial=serial,
            state=State.FLASHED,
            step="flash",
            details={"release": release},
        )
        verified = Event("2026-01-02T10:00:02.000Z", EventKind.UNIT, serial=serial, state=State.VERIFIED)
        ledger.record("t", [flashed, verified])


def test_the_list_of_styles(terminal: Terminal, lamp: Path) -> None:
    """It has name, size, origin and title; with --json also whether a label has the PoP, and the file."""
    lines = terminal.well("-C", lamp, "label", "--styles").splitlines()
    assert [line.split()[0] for line in lines] == ["style", *NAMES]
    styles = json.loads(terminal.well("-C", lamp, "label", "--styles", "--json"))["styles"]
    assert [each["name"] for each in styles if not each["pop"]] == ["pack-62x29"]
    assert {each["shape"] for each in styles} == {"rectangle", "round"}
    assert all(Path(each["file"]).is_file() and not each["own"] and not each["default"] for each in styles)


def test_a_broken_style_does_not_hide_the_others(terminal: Terminal, lamp: Path) -> None:
    """The list warns of it, with file and key; using it is an error with all its complaints."""
    folder = lamp / "templates" / "labels"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text('[label]\nsize = "x"\nmargin = -1\n[qr]\n')
    said = terminal("-C", lamp, "label", "--styles")
    assert said.code == 0
    assert [line.split()[0] for line in said.out.splitlines()] == ["style", *NAMES]
    assert "templates/labels/mine.toml: [label] size" in said.err
    terminal("-C", lamp, "label", "--style", "mine", "--preview", "x.png").refused(3, "[label] size", "[label] margin")
    assert not Path("x.png").exists()


def test_a_style_is_copied_and_changed(terminal: Terminal, lamp: Path) -> None:
    """--copy-style is the start of one's own; the copy hides the shipped one, and is never overwritten unasked."""
    path = Path(terminal.well("-C", lamp, "label", "--copy-style", "plug-40x30").strip())
    assert path == lamp.resolve() / "templates" / "labels" / "plug-40x30.toml"
    path.write_text(path.read_text().replace('size = "40x30"', 'size = "42x32"'))
    terminal("-C", lamp, "label", "--copy-style", "plug-40x30").refused(3, "plug-40x30.toml", "--force")
    (own,) = (
        each
        for each in json.loads(terminal.well("-C", lamp, "label", "--styles", "--json"))["styles"]
        if each["name"] == "plug-40x30"
    )
    assert (own["own"], own["width"], own["height"]) == (True, 42.0, 32.0)
    terminal("-C", lamp, "label", "--copy-style", "nope").refused(3, "minimal-10, module-15")


def test_a_preview_needs_no_ledger_and_no_key(terminal: Terminal) -> None:
    """In a new workspace a style is shown with a sample that says so; nothing else is written."""
    terminal.well("init", "w", "--name", "lamp", "--serial", "LMP-{n:06d}", "--cloud-claim")
    (Path("w") / "keys" / "station.key").unlink()
    before = sorted(str(path) for path in Path("w").rglob("*"))
    said = terminal("-C", "w", "label", *PLUG, "--preview", "label.png", "--dpi", "203")
    assert said.code == 0, said.err
    assert "plug-40x30: 40 x 30 mm, 320 x 240 dots at 203 dpi; QR version" in said.err
    with PIL.Image.open("label.png") as image:
        assert image.size == (320, 240)
        (code,) = zxingcpp.read_barcodes(image.convert("L"))
    assert json.loads(code.text)["pop"] == "SAMPLE00"
    assert json.loads(code.text)["name"] == "PROV_SAMPLE"
    assert sorted(str(path) for path in Path("w").rglob("*")) == before


def test_a_preview_of_a_unit_records_nothing(terminal: Terminal, lamp: Path) -> None:
    """It has the unit's code, so the file is 0600; the ledger has no label of it."""
    told = json.loads(terminal.well("-C", lamp, "label", "LMP-000002", *PLUG, "--preview", "u.png", "--json"))
    assert (told["serial"], told["style"], told["dots"], told["module_dots"]) == (
        "LMP-000002",
        "plug-40x30",
        [472, 354],
        5,
    )
    assert pops(PIL.Image.open("u.png")) == {expected(lamp)["LMP-000002"]}
    assert Path("u.png").stat().st_mode & 0o777 == 0o600
    assert events(lamp, "LMP-000002") == 0
    for word in ("pop", "payload"):
        assert word not in told


@pytest.mark.parametrize(
    ("argv", "code", "told"),
    [
        (("--preview", "x.pdf"), 2, "--preview writes a PNG"),
        (("--preview", "x.png", "-o", "y.png"), 2, "--preview writes one label"),
        (("LMP-000001", "LMP-000002", "--preview", "x.png"), 2, "at most one serial"),
        (("lamp-0001", "--preview", "x.png"), 2, "lamp-0001 is a batch"),
        (("--style", "plug", "--preview", "x.png"), 3, '--style: unknown label style "plug"'),
        (("--style", "../x", "--preview", "x.png"), 3, '"../x" is not the name of a label style'),
        (("--size", "4", "--preview", "x.png"), 2, '--size: "4" is not a size from 5 to 220 mm'),
        (("--size", "12x9", *PLUG, "--preview", "x.png"), 3, "style plug-40x30 on 12x9: "),
        (("--dpi", "72", "--preview", "x.png"), 2, "--dpi"),
        (("--style", "minimal-10", "--preview", "x.png"), 3, "made for the compact form"),
        (("LMP-000001", *PLUG), 2, "a terminal shows the code only"),
        (("LMP-000001", *PLUG, "--sheet", "L7160", "-o", "x.png"), 2, "--sheet is for PDF"),
        (("LMP-000001", "--size", "40x30", "--sheet", "L7160", "-o", "x.pdf"), 2, "--sheet and --size"),
        (("LMP-000001", *PLUG, "--sheet", "L7651", "-o", "x.pdf"), 3, "larger than the labels of sheet L7651"),
        (("LMP-000001", "--size", "10", "-o", "x.png"), 3, "too small"),
    ],
)
def test_bad_arguments(terminal: Terminal, lamp: Path, argv: tuple[str, ...], code: int, told: str) -> None:
    """Each is refused with its reason; no file is written and nothing is recorded."""
    terminal("-C", lamp, "label", *argv).refused(code, told)
    assert not list(Path().glob("[xy].*"))
    assert events(lamp, "LMP-000001") == 0


def test_a_style_on_pages_and_on_sheets(terminal: Terminal, lamp: Path) -> None:
    """Without a sheet each label is a page of its own size; with one, they stand in its labels."""
    terminal.well("-C", lamp, "label", "lamp-0001", *PLUG, "-o", "pages.pdf")
    assert [len(page) for page in pages("pages.pdf")] == [1, 1, 1]
    terminal.well("-C", lamp, "label", "lamp-0001", *PLUG, "--sheet", "L7160", "-o", "sheet.pdf")
    assert [len(page) for page in pages("sheet.pdf")] == [3]
    assert {json.loads(text)["pop"] for (text,) in pages("pages.pdf")} == set(expected(lamp).values())
    with open_workspace(lamp).ledger as ledger:
        details = [one.event.details for one in ledger.history("LMP-000001") if one.event.kind is EventKind.LABEL]
    assert [{name: each[name] for name in ("form", "sheet", "style")} for each in details] == [
        {"form": "pdf", "sheet": "40x30", "style": "plug-40x30"},
        {"form": "pdf", "sheet": "L7160", "style": "plug-40x30"},
    ]


def test_a_free_size(terminal: Terminal, lamp: Path) -> None:
    """A PDF has pages of that size, a picture has its dots."""
    terminal.well("-C", lamp, "label", "lamp-0001", "--size", "50x30", "-o", "pages.pdf")
    assert [len(page) for page in pages("pages.pdf")] == [1, 1, 1]
    terminal.well("-C", lamp, "label", "LMP-000001", "--size", "50x30", "--dpi", "600", "-o", "u.png")
    assert size_of("u.png") == (1181, 709)


def test_the_style_of_product_toml(terminal: Terminal, lamp: Path) -> None:
    """It is the default, --style overrides it, and "auto" is the layout without a style."""
    product = lamp / "product.toml"
    product.write_text(product.read_text().replace("[label]\n", '[label]\nstyle = "round-24"\n'))
    terminal.well("-C", lamp, "label", "LMP-000001", "-o", "a.png")
    assert size_of("a.png") == (283, 283)
    terminal.well("-C", lamp, "label", "LMP-000001", *PLUG, "-o", "b.png")
    assert size_of("b.png") == (472, 354)
    terminal.well("-C", lamp, "label", "LMP-000001", "--style", "auto", "-o", "c.png")
    assert size_of("c.png") == (450, 250)
    assert "round-24 *" in terminal.well("-C", lamp, "label", "--styles")
    assert "PoP" in terminal.well("-C", lamp, "label", "LMP-000001")
    product.write_text(product.read_text().replace("round-24", "gone"))
    terminal("-C", lamp, "label", "LMP-000001", "-o", "d.png").refused(3, "product.toml: [label] style: unknown label")


def test_a_carton_s_label(terminal: Terminal, lamp: Path) -> None:
    """It has MAC, release and date of the ledger, no PoP, and does not count as the label of the unit."""
    verify(lamp, "LMP-000001", "24:0a:c4:00:00:01")
    said = terminal("-C", lamp, "label", "LMP-000001", "--style", "pack-62x29", "-o", "pack.pdf")
    assert said.code == 0
    assert "not known yet" not in said.err
    assert "they have no PoP, and do not count as labels of the units" in said.err
    document = pypdfium2.PdfDocument("pack.pdf")
    text = document[0].get_textpage().get_text_bounded()
    document.close()
    for words in ("LMP-000001", "24:0A:C4:00:00:01", "Release 1.4.0", "2026-01-02"):
        assert words in text
    assert expected(lamp)["LMP-000001"] not in text.replace(" ", "")
    assert pages("pack.pdf") == [["LMP-000001"]]
    assert events(lamp, "LMP-000001") == 0
    said = terminal("-C", lamp, "label", "LMP-000002", "--style", "pack-62x29", "-o", "early.pdf")
    assert "mac not known yet: [[text]] no. 3 of style pack-62x29 is left out (1 label)" in said.err


@pytest.mark.parametrize("roll", [(62, 29), (24, 24), (62, None)], ids=["62x29", "24x24", "62"])
def test_the_automatic_layout_fits_the_roll_of_a_brother_ql(
    terminal: Terminal, lamp: Path, roll: tuple[float, float | None]
) -> None:
    """It keeps to what the printer can print of the label, and stands in its middle."""
    spec = VirtualPrinterSpec(PrinterKind.QL, 300, *roll, 0)
    with serve_printer(spec, terminal.folder / "out") as printer:
        media = "x".join(f"{side:g}" for side in roll if side)
        (lamp / "station.toml").write_text(f'[printer]\naddress = "{printer.address}"\nmedia = "{media}"\n')
        assert terminal.well("-C", lamp, "label", "LMP-000001", "--print") == "LMP-000001  printed\n"
        (path,) = printer.labels
    with PIL.Image.open(path) as picture:
        assert pops(picture.convert("L")) == {expected(lamp)["LMP-000001"]}


def test_a_logo_of_a_workspace_goes_into_git_and_its_labels_do_not(terminal: Terminal, lamp: Path) -> None:
    """.gitignore keeps pictures of labels out, and lets the logos of styles in."""
    lines = (lamp / ".gitignore").read_text().splitlines()
    assert lines.index("*.png") < lines.index("!/templates/labels/*.png") < lines.index("/keys/")
