"""The printer file:///FOLDER."""

from __future__ import annotations

import stat

import pytest
from PIL import Image

from rmfab.label.printers.open_printer import open_printer
from rmfab.label.printers.printer import Delivery, PrinterFault
from rmfab.label.raster import Raster

LABEL = Raster(12, 2, b"\xff\xf0\x00\x10")


def test_labels_are_private_pictures(tmp_path):
    """Each copy is a PNG, numbered and private, dot for dot the label; an old one is never replaced."""
    printer = open_printer(f"file://{tmp_path}/labels")
    assert printer.print_label(LABEL) is Delivery.PRINTED
    assert printer.print_label(LABEL, 2) is Delivery.PRINTED
    files = sorted((tmp_path / "labels").glob("*.png"))
    assert [path.name for path in files] == ["000001.png", "000002.png", "000003.png"]
    assert stat.S_IMODE((tmp_path / "labels").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert all(Raster.of_image(Image.open(path)) == LABEL for path in files)


def test_no_folder(tmp_path):
    """A folder that cannot be made is a fault of the printer, and nothing is in doubt."""
    (tmp_path / "labels").touch()
    with pytest.raises(PrinterFault) as caught:
        open_printer(f"file://{tmp_path}/labels").print_label(LABEL)
    assert caught.value.cause == "printer-folder"
    assert not caught.value.in_doubt
