"""Sheets of labels, each label read back, against qrcode's encoding and a plain read-back.

    python -m benchmarks labels [N] [SHEET]

Peer: for every payload the qrcode library makes the same symbol, and zxing-cpp decodes it from a plain image of three
dots per module, on the same number of cores. Prints one line for each and the ratio.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from PIL import Image
from qrcode.main import QRCode
from qrcode.util import QRData

from rmfab.label.content import Label
from rmfab.label.layout import make_artwork
from rmfab.label.make_sheet import make_sheet
from rmfab.label.readback import codes_in
from rmfab.label.sheets import Sheet, sheet
from rmfab.label.symbol import Level
from rmfab.secret import Secret
from rmfab.workers.crew import cores, open_crew
from rmfab.workers.feeding import chunked

DOTS = 3
TARGET = 500  # labels per second, on two cores


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark on *argv* (number of labels, sheet); return 1 if it makes fewer than 500 labels per second."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    count = int(arguments[0]) if arguments else 1000
    chosen = sheet(arguments[1] if len(arguments) > 1 else "L7651")
    labels = [label(number) for number in range(1, count + 1)]
    peer = _seconds(lambda: read_plain(labels, chosen))
    ours = _seconds(lambda: make_sheet(labels, chosen))
    print(f"qrcode encoding and reading back   {count} labels  {peer:7.2f} s  {count / peer:7.0f} labels/s")
    print(f"sheets of {chosen}, read back       {count} labels  {ours:7.2f} s  {count / ours:7.0f} labels/s")
    print(f"ratio to the peer {ours / peer:.2f}")
    return int(count / ours < TARGET)


def label(number: int) -> Label:
    """Return a label with the longest payload of stock firmware: JSON, security 2, SoftAP."""
    name, pop = f"PROV_{number * 7919 % (1 << 24):06x}", f"{number * 2654435761 % (1 << 32):08x}"
    payload = f'{{"ver":"v1","name":"{name}","username":"wifiprov","pop":"{pop}","transport":"softap"}}'
    return Label("Desk Lamp", f"LMP-{number:06d}", name, Secret(pop), Secret(payload))


def read_plain(labels: Sequence[Label], chosen: Sheet) -> None:
    """Encode and decode every payload, nothing else."""
    symbol = make_artwork(labels[0], *chosen.label).symbol
    payloads = [each.payload.reveal() for each in labels]
    with open_crew(PlainCodes, (symbol.version, symbol.level), cores()) as crew:
        for chunk, found in crew.run(PlainCodes.encode_and_read, chunked(payloads, 16)):
            if found != chunk:
                raise AssertionError("a plain code was not read back")


class PlainCodes:
    """The work of the peer in a worker process."""

    def __init__(self, kind: tuple[int, Level]) -> None:
        self._version, self._level = kind

    def encode_and_read(self, payloads: list[str]) -> list[str]:
        """Encode each payload, and return what is read back."""
        return [_encode_and_read(self._version, self._level, payload) for payload in payloads]


def _encode_and_read(version: int, level: Level, payload: str) -> str:
    code = QRCode(version=version, error_correction=level.value, border=4)
    code.add_data(QRData(payload.encode(), mode=4), optimize=0)
    code.make(fit=False)
    rows = [bytes(map(bool, row)) for row in code.get_matrix()]
    side = len(rows)
    image = Image.frombytes("L", (side, side), b"".join(rows).translate(bytes([255, 0]) + bytes(254)))
    (read,) = codes_in(image.resize((side * DOTS, side * DOTS), Image.Resampling.NEAREST))
    return read.decode()


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
