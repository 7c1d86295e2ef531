"""Virtual printers for tests, with little patience, and labels for them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from PIL import Image

from rmfab.label.printers.address import PrinterAddress
from rmfab.label.printers.configuration import PrinterConfig
from rmfab.label.printers.open_printer import open_printer
from rmfab.label.printers.patience import PrinterPatience
from rmfab.label.printers.printer import LabelPrinter
from rmfab.label.raster import Raster
from rmfab.virtual.printers.serving import PrinterHandle, serve_printer
from rmfab.virtual.printers.spec import PrinterKind, VirtualPrinterSpec

QUICK = PrinterPatience(connect=5, busy=0.6, answer=0.6, send=1.5, label=1.5, poll=0.01, settle=0.02)
"""For faults that are a wait which expires. What must come in time has `PATIENT`."""
PATIENT = replace(QUICK, busy=30, answer=30, send=30, label=60)
AWAY = replace(PATIENT, busy=0.1)
"""For a printer that is away: one that refuses may be at work for others, and is tried again for a while."""
SPECS = {
    PrinterKind.ZPL: VirtualPrinterSpec(PrinterKind.ZPL, 203, 40, 30, 0),
    PrinterKind.QL: VirtualPrinterSpec(PrinterKind.QL, 300, 62, 29, 0),
    PrinterKind.TSPL: VirtualPrinterSpec(PrinterKind.TSPL, 203, 40, 30, 0),
}
KINDS = list(SPECS)


def noise(seed: int, width: int = 200, height: int = 150) -> Raster:
    """Return a label that no other seed has."""
    size = -(-width // 8)
    source = random.Random(seed)
    rows = (source.getrandbits(width) << (8 * size - width) for _ in range(height))
    return Raster(width, height, b"".join(row.to_bytes(size, "big") for row in rows))


def printer_at(handle: PrinterHandle, patience: PrinterPatience = PATIENT, **options: object) -> LabelPrinter:
    """Return the printer at *handle* as the line opens it."""
    config = PrinterConfig(PrinterAddress.parse(handle.address), **options)  # type: ignore[arg-type]
    return open_printer(config, patience)


@contextmanager
def printing(kind: PrinterKind, folder: Path, **changes: object) -> Iterator[PrinterHandle]:
    """Serve a printer of *kind* at once, with *changes* to its spec."""
    with serve_printer(replace(SPECS[kind], **changes), folder / "out") as handle:  # type: ignore[arg-type]
        yield handle


def printed(path: Path, width: int = 200, height: int = 150) -> Raster:
    """Return the label of this size in a picture that came out: at its corner, or on a Brother QL in its middle."""
    picture = Image.open(path)
    left = (picture.width - width) // 2 if picture.info["dpi"][0] > 250 else 0
    top = (picture.height - height) // 2 if left else 0
    return Raster.of_image(picture.crop((left, top, left + width, top + height)))
