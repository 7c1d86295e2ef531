"""Tests of the second code: Data Matrix and Code 128 of the serial, read by libdmtx and zbar."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import zxingcpp

from rmfab.errors import InputError
from rmfab.label.barcode import make_barcode
from rmfab.label.print_raster import label_raster
from rmfab.label.style import BarcodeKind
from tests.label.sample import known, style_of

READERS = {
    "datamatrix": ("dmtxread", "-N1", "-n"),
    "code128": ("zbarimg", "-q", "--raw", "-Sdisable", "-Scode128.enable"),
}
SERIALS = ["LMP-000001", "1234567890", "a", "x_Y.z-" * 4]
STYLE = """
[label]
size = "120x60"
[qr]
position = "left"
side = 30
[barcode]
kind = "{kind}"
box = [{left}, 2, {width}, 20]
"""


@pytest.mark.parametrize("dpi", [203, 300])
@pytest.mark.parametrize("serial", SERIALS)
@pytest.mark.parametrize("kind", list(BarcodeKind))
def test_a_different_reader_reads_the_serial(tmp_path: Path, kind: BarcodeKind, serial: str, dpi: int) -> None:
    """zxing-cpp makes the code, so libdmtx and zbar prove that it is right."""
    command = READERS[kind.value]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    left, width = (95, 20) if kind is BarcodeKind.DATA_MATRIX else (32, 87)
    style = style_of(tmp_path, STYLE.format(kind=kind.value, left=left, width=width))
    image = label_raster(known(serial=serial), style, dpi).raster.image()
    image.save(tmp_path / "label.png")
    read = subprocess.run([*command, tmp_path / "label.png"], capture_output=True, text=True, timeout=60, check=True)
    assert read.stdout.splitlines() == [serial]


@pytest.mark.parametrize("kind", list(BarcodeKind))
def test_both_codes_are_on_the_label_and_the_second_has_no_secret(tmp_path: Path, kind: BarcodeKind) -> None:
    """The QR code has the payload, the second code the serial only."""
    left, width = (95, 20) if kind is BarcodeKind.DATA_MATRIX else (32, 87)
    style = style_of(tmp_path, STYLE.format(kind=kind.value, left=left, width=width))
    read = {code.text for code in zxingcpp.read_barcodes(label_raster(known(), style, 203).raster.image())}
    assert read == {known().payload.reveal(), "LMP-000001"}


def test_a_data_matrix_is_square_and_a_code_128_has_one_row() -> None:
    """A square fits a place better than the wide forms of a Data Matrix."""
    for length in range(1, 65):
        matrix = make_barcode(BarcodeKind.DATA_MATRIX, "X" * length)
        assert matrix.rows == matrix.columns
    bars = make_barcode(BarcodeKind.CODE_128, "LMP-000001")
    assert (bars.rows, bars.columns % 11) == (1, 2)


def test_a_text_without_a_code_is_an_error() -> None:
    """Code 128 has no Chinese letters."""
    with pytest.raises(InputError, match="has no code128 code"):
        make_barcode(BarcodeKind.CODE_128, "灯")
