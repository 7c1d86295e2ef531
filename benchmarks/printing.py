"""Labels on a ZPL printer: what each costs this host besides waiting, against zebrafy's encoder.

    python -m benchmarks printing [N] [PACE]

The virtual printer runs in a process of its own, at its own pace: PACE 1, the default, is that of a real printer, 0.4 s
for 30 mm at 4 inches per second. Each of the N labels (default 100) is drawn, read back and printed as one job:
connect, ask, send, ask until it is out, close. Peer: zebrafy encodes the same bitmaps, and does nothing else. Exit code
1 if a label needs 10 ms of computing or more.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from zebrafy.zebrafy_image import ZebrafyImage

from benchmarks.labels import label
from rmfab.label.print_raster import label_raster
from rmfab.label.printers.address import PrinterAddress
from rmfab.label.printers.configuration import GraphicEncoding, PrinterConfig
from rmfab.label.printers.open_printer import open_printer
from rmfab.label.printers.printer import Delivery
from rmfab.label.printers.zpl import zpl_job
from rmfab.label.raster import Raster
from rmfab.label.style_auto import AutomaticStyle

TARGET_MS = 10.0
_WIDTH, _HEIGHT, _DPI = 40, 30, 300
_ENCODED = 50


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark on *argv* (number of labels, pace); return 1 if the target is missed."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    count = int(arguments[0]) if arguments else 100
    pace = arguments[1] if len(arguments) > 1 else "1"
    rasters = [_raster(number) for number in range(1, _ENCODED + 1)]
    size = f"{rasters[0].width} x {rasters[0].height} dots"
    for name, encode in _encoders().items():
        milliseconds, octets = _encoding(encode, rasters)
        print(f"encode {size:<16} {name:<20} {milliseconds:6.2f} ms  {octets:6.0f} bytes")
    with _printer(pace) as address:
        drawing, printing, passed = _printing(address, count)
    each = (
        f"{drawing + printing:.2f} ms of computing each: {drawing:.2f} to draw and read back, {printing:.2f} to print"
    )
    print(f"print {count} labels, pace {pace}, {passed / count:.2f} s each; {each}")
    return int(drawing + printing >= TARGET_MS)


def _raster(number: int) -> Raster:
    return label_raster(label(number), AutomaticStyle(_WIDTH, _HEIGHT), _DPI).raster


def _encoders() -> dict[str, Callable[[Raster], str | bytes]]:
    address = PrinterAddress.parse("zpl+tcp://localhost")
    plain, packed = PrinterConfig(address), PrinterConfig(address, encoding=GraphicEncoding.Z64)
    return {
        "rmfab run-length": lambda raster: zpl_job(raster, 1, plain),
        "rmfab z64": lambda raster: zpl_job(raster, 1, packed),
        "zebrafy ASCII": lambda raster: str(ZebrafyImage(raster.image(), format="ASCII").to_zpl()),
        "zebrafy Z64": lambda raster: str(ZebrafyImage(raster.image(), format="Z64").to_zpl()),
    }


def _encoding(encode: Callable[[Raster], str | bytes], rasters: Sequence[Raster]) -> tuple[float, float]:
    """Return the milliseconds of computing and the bytes of one label."""
    start = time.process_time()
    octets = sum(len(encode(raster)) for raster in rasters)
    return 1000 * (time.process_time() - start) / len(rasters), octets / len(rasters)


def _printing(address: str, count: int) -> tuple[float, float, float]:
    """Return the milliseconds of computing to draw and to print a label, and the seconds that passed for all."""
    printer = open_printer(PrinterConfig(PrinterAddress.parse(address), dpi=_DPI))
    drawing, printing, passed = 0.0, 0.0, time.monotonic()
    for number in range(1, count + 1):
        start = time.process_time()
        raster = _raster(number)
        drawn = time.process_time()
        if printer.print_label(raster) is not Delivery.PRINTED:
            raise AssertionError("a label was not printed")
        drawing, printing = drawing + drawn - start, printing + time.process_time() - drawn
    return 1000 * drawing / count, 1000 * printing / count, time.monotonic() - passed


@contextmanager
def _printer(pace: str) -> Iterator[str]:
    """Serve a virtual printer in a process of its own; yield its address."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "rmfab", "printer", "serve", "--json", "--tcp-port", "0"]
        command += ["--dpi", str(_DPI), "--media", f"{_WIDTH}x{_HEIGHT}", "--pace", pace, "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as served:
            if served.stdout is None:
                raise AssertionError("it is a pipe")
            try:
                address = json.loads(served.stdout.readline())["address"]
                threading.Thread(target=served.stdout.read, daemon=True).start()  # a full pipe would stop the printer
                yield address
            finally:
                served.terminate()
