"""Any label comes out of the virtual printers dot by dot, and others decode our jobs to the same dots."""

from __future__ import annotations

import io
import re
from contextlib import nullcontext

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from zebrafy import ZebrafyZPL

from rmfab.label.printers.address import PrinterAddress
from rmfab.label.printers.area import judge_label
from rmfab.label.printers.configuration import GraphicEncoding, PrinterConfig
from rmfab.label.printers.media import Media
from rmfab.label.printers.printer import PrinterFault
from rmfab.label.printers.ql import fitting, ql_job
from rmfab.label.printers.ql_media import MODELS, ROLLS, roll_of
from rmfab.label.printers.zpl import z64_field, zpl_job
from rmfab.label.printers.zpl_status import parse_answer
from rmfab.label.raster import Raster
from rmfab.virtual.printers.mechanism import Mechanism
from rmfab.virtual.printers.spec import PrinterKind
from rmfab.virtual.printers.zpl import ZplReader
from tests.label.printers.bench import KINDS, SPECS, noise, printed, printer_at, printing
from tests.patience import until

ZPL = PrinterConfig(PrinterAddress.parse("zpl+tcp://x"))
Z64 = PrinterConfig(PrinterAddress.parse("zpl+tcp://x"), encoding=GraphicEncoding.Z64)
MODEL = MODELS[0x34, 0x41]
LIMITS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


@st.composite
def labels(draw, widest=240, tallest=60):
    """Return a label: of repeated rows, long runs and noise, as codes and logos are."""
    width, height = draw(st.integers(1, widest)), draw(st.integers(1, tallest))
    size, spare = -(-width // 8), -width % 8
    white, black = 0, (1 << width) - 1
    values = draw(st.lists(st.sampled_from([white, black]) | st.integers(0, black), min_size=1, max_size=6))
    picks = draw(st.lists(st.integers(0, len(values) - 1), min_size=height, max_size=height))
    return Raster(width, height, b"".join((values[pick] << spare).to_bytes(size, "big") for pick in picks))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@LIMITS
@given(label=labels())
def test_any_label_comes_out(tmp_path_factory, kind, label):
    """Each dot of a label is where it was drawn."""
    folder = tmp_path_factory.mktemp("any")
    machine = Mechanism(SPECS[kind], folder)
    try:
        reader = _reader(kind, machine)
        reader.feed(_job(kind, label))
        until(lambda: machine.labels)
        assert _middle(Image.open(machine.labels[0]), kind, label) == label
    finally:
        machine.end()


@LIMITS
@given(label=labels(), cuts=st.lists(st.integers(1, 400), max_size=8))
def test_pieces_do_not_matter(tmp_path_factory, label, cuts):
    """A job that arrives in pieces is the same job."""
    machine = Mechanism(SPECS[PrinterKind.ZPL], tmp_path_factory.mktemp("pieces"))
    try:
        reader, job = ZplReader(machine, lambda _: None), zpl_job(label, 1, ZPL)
        for cut in cuts:
            reader.feed(job[:cut])
            job = job[cut:]
        reader.feed(job)
        until(lambda: machine.labels)
        assert _middle(Image.open(machine.labels[0]), PrinterKind.ZPL, label) == label
    finally:
        machine.end()


@pytest.mark.parametrize("config", [ZPL, Z64], ids=["run-length", "z64"])
@LIMITS
@given(label=labels())
def test_zebrafy_decodes_our_zpl(config, label):
    """zebrafy finds the same dots in our graphic field, padded to whole bytes."""
    image = ZebrafyZPL(zpl_job(label, 1, config).decode()).to_images()[0]
    assert Raster.of_image(image.crop((0, 0, label.width, label.height))) == label


LONG_ENOUGH = [roll for roll in ROLLS if not 0 < roll.dots_long < 150]
"""Rolls for which brother_ql makes jobs: it refuses the 94 dots of 12 x 12 mm, Brother's smallest label."""


@pytest.mark.slow
@pytest.mark.parametrize("roll", LONG_ENOUGH, ids=lambda roll: str(roll.media))
def test_brother_ql_decodes_our_jobs(roll, tmp_path, monkeypatch):
    """brother_ql finds our rows, and its own offsets are ours: its own converter puts the label in the same place."""
    from brother_ql.conversion import convert
    from brother_ql.raster import BrotherQLRaster
    from brother_ql.reader import BrotherQLReader

    monkeypatch.chdir(tmp_path)
    wide = roll.width > 62
    model = MODELS[0x34, 0x44] if wide else MODEL
    label = noise(7, roll.dots_wide, roll.dots_long or 400)
    reader = BrotherQLReader(io.BytesIO(ql_job(label, 1, roll, model)))
    reader.analyse()
    found = Raster.of_image(Image.open("label0001.png"))
    assert reader.mwidth == roll.width

    their = BrotherQLRaster("QL-1110NWB" if wide else "QL-820NWB")
    convert(their, [label.image()], _their_name(roll), rotate=0)
    BrotherQLReader(io.BytesIO(their.data)).analyse()
    assert found == Raster.of_image(Image.open("label0001.png"))


def test_crc_of_z64():
    """The CRC is that of the base64 text: the check value of CRC-16/XMODEM, and a field that zebrafy accepts."""
    import binascii

    assert binascii.crc_hqx(b"123456789", 0) == 0x31C3
    assert re.fullmatch(r"\^GFA,[0-9]+,[0-9]+,[0-9]+,:Z64:[A-Za-z0-9+/=]+:[0-9A-F]{4}", z64_field(noise(1)))


def test_wrong_crc_is_a_blank_label(tmp_path):
    """A virtual printer drops a field with a wrong CRC, as firmware does."""
    machine = Mechanism(SPECS[PrinterKind.ZPL], tmp_path)
    job = zpl_job(noise(1), 1, Z64)
    at = job.index(b"^FS") - 1
    ZplReader(machine, lambda _: None).feed(job[:at] + bytes([job[at] ^ 1]) + job[at + 1 :])
    until(lambda: machine.labels)
    machine.end()
    assert Image.open(machine.labels[0]).getextrema() == (255, 255)


def test_a_question_in_one_piece_with_a_cancel(tmp_path):
    """~JA cancels half a format that came before it, and not the question that came with it."""
    machine, answers = Mechanism(SPECS[PrinterKind.ZPL], tmp_path), []
    ZplReader(machine, answers.append).feed(zpl_job(noise(1), 1, ZPL)[:100] + b"~JA\r\n~HS\r\n")
    machine.end()
    told = parse_answer(b"".join(answers))
    assert told is not None
    assert told.idle


def test_head_cuts_and_long_labels_continue(tmp_path):
    """What is wider than the head or the roll is lost, and what is longer than a label is on the next one."""
    with printing(PrinterKind.ZPL, tmp_path) as handle:
        printer_at(handle).print_label(noise(1, 900, 300))
        assert len(handle.labels) == 2
        assert printed(handle.labels[0], 320, 240) == _cut(noise(1, 900, 300), 0, 240)


def test_only_white_is_trimmed():
    """A label of the size of the roll loses its white margin; ink outside of what can be printed is refused."""
    roll = roll_of(29, 42)
    inked = Raster.of_image(Image.new("L", (342, 496), 0))
    with pytest.raises(PrinterFault, match="ink outside of the"):
        fitting(inked, roll, "ql+tcp://q")
    framed = Image.new("L", (342, 496), 255)
    framed.paste(0, (18, 36, 324, 460))
    assert fitting(Raster.of_image(framed), roll, "ql+tcp://q").width == 306


def test_a_label_is_judged_without_its_printer():
    """By the labels that station.toml names: their size, and the margins that a Brother QL leaves."""
    full = Raster.of_image(Image.new("L", (342, 496), 0))
    for address, media, what in (
        ("zpl+tcp://z", Media(29, 42), None),
        ("zpl+tcp://z", Media(25, 42), "larger than the labels"),
        ("zpl+tcp://z", None, None),
        ("ql+tcp://q", Media(29, 42), "ink outside of the 306 x 425 dots"),
    ):
        config = PrinterConfig(PrinterAddress.parse(address), media=media)
        with nullcontext() if what is None else pytest.raises(PrinterFault, match=what):
            judge_label(config, full, 300)


def test_only_what_is_asked_is_set():
    """A job sets darkness and speed only if they are configured, and never what a printer stores."""
    stored = (b"^MN", b"^MT", b"~SD", b"^PR", b"^JUS", b"^MD", b"~JS", b"^PO")
    plain = zpl_job(noise(1), 1, ZPL)
    assert not any(command in plain for command in stored)
    asked = zpl_job(noise(1), 1, PrinterConfig(PrinterAddress.parse("zpl+tcp://x"), darkness=7, speed=3))
    assert asked.startswith(b"~SD07^XA^PR3^PW200^LL150^LH0,0^FO0,0^GFA,3750,3750,25,")


def _cut(label, top, height):
    return Raster.of_image(label.image().crop((0, top, 320, top + height)))


def _reader(kind, machine):
    from rmfab.virtual.printers.ql import QlReader
    from rmfab.virtual.printers.tspl import TsplReader

    reader = {PrinterKind.ZPL: ZplReader, PrinterKind.QL: QlReader, PrinterKind.TSPL: TsplReader}[kind]
    return reader(machine, lambda _: None)


def _job(kind, label):
    from rmfab.label.printers.tspl import tspl_job

    if kind is PrinterKind.QL:
        return ql_job(label, 1, roll_of(62, 29), MODEL)
    if kind is PrinterKind.TSPL:
        return tspl_job(label, 1, 203, PrinterConfig(PrinterAddress.parse("tspl+tcp://x")))
    return zpl_job(label, 1, ZPL)


def _middle(picture, kind, label):
    """Return the part of *picture* where *label* must be."""
    left = top = 0
    if kind is PrinterKind.QL:  # the printable area is 696 x 271 of 732 x 343 dots, and the label in its middle
        left = 18 + 696 - (696 - label.width) // 2 - label.width
        top = 36 + (271 - label.height) // 2
    return Raster.of_image(picture.crop((left, top, left + label.width, top + label.height)))


def _their_name(roll):
    names = {(38, 90): "39x90", (60, 87): "60x86", (102, 153): "102x152", (12, 12): "d12", (24, 24): "d24",
             (58, 58): "d58"}  # fmt: skip
    size = (roll.width, roll.length)
    return names.get(size, f"{roll.width}x{roll.length}" if roll.length else f"{roll.width}")
