"""Sheets of labels, each label read back, against qrcode's encoding and a plain read-back.

    python -m benchmarks labels [N] [SHEET]

Floor: for every payload qrcode makes the same symbol, and zxing-cpp decodes it from a plain image of three dots per
module, on the same number of cores. Prints one line for each and the ratio.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from PIL import Image

from rmfab.label.content import Label
from rmfab.label.layout import make_artwork
from rmfab.label.make_sheet import make_sheet
from rmfab.label.readback import codes_in
from rmfab.label.sheets import Sheet, sheet
from rmfab.label.symbol import Level, encode
from rmfab.secret import Secret
from rmfab.workers.crew import cores, open_crew
from rmfab.workers.feeding import chunked

DOTS = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark on *argv* (number of labels, sheet); return 1 if 10,000 labels would take over two minutes."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    count = int(arguments[0]) if arguments else 1000
    chosen = sheet(arguments[1] if len(arguments) > 1 else "L7651")
    labels = [label(number) for number in range(1, count + 1)]
    floor = _seconds(lambda: read_plain(labels, chosen))
    ours = _seconds(lambda: make_sheet(labels, chosen))
    print(f"qrcode encoding and reading back   {count} labels  {floor:7.2f} s  {count / floor:7.0f} labels/s")
    print(f"sheets of {chosen}, read back       {count} labels  {ours:7.2f} s  {count / ours:7.0f} labels/s")
    print(f"ratio to the floor {ours / floor:.2f}")
    return int(ours / count * 10_000 > 120)


def label(number: int) -> Label:
    """Return a label with the longest payload of stock firmware: JSON, security 2, SoftAP."""
    name, pop = f"PROV_{number * 7919 % (1 << 24):06x}", f"{number * 2654435761 % (1 << 32):08x}"
    payload = f'{{"ver":"v1","name":"{name}","username":"wifiprov","pop":"{pop}","transport":"softap"}}'
    return Label("Desk Lamp", f"LMP-{number:06d}", name, Secret(pop), Secret(payload))


def read_plain(labels: Sequence[Label], chosen: Sheet) -> None:
    """Encode and decode every payload, nothing else: the floor."""
    level = make_artwork(labels[0], *chosen.label).symbol.level
    payloads = [each.payload.reveal() for each in labels]
    with open_crew(PlainCodes, level, cores()) as crew:
        for chunk, found in crew.run(PlainCodes.encode_and_read, chunked(payloads, 16)):
            if found != chunk:
                raise AssertionError("a plain code was not read back")


class PlainCodes:
    """The work of the floor in a worker process."""

    def __init__(self, level: Level) -> None:
        self._level = level

    def encode_and_read(self, payloads: list[str]) -> list[str]:
        """Encode each payload, and return what is read back."""
        return [_encode_and_read(self._level, payload) for payload in payloads]


def _encode_and_read(level: Level, payload: str) -> str:
    symbol = encode(Secret(payload), level)
    side = symbol.side + 8
    margin = bytes(4)
    rows = [bytes(side)] * 4 + [margin + row + margin for row in symbol.modules] + [bytes(side)] * 4
    image = Image.frombytes("L", (side, side), b"".join(rows).translate(bytes([255, 0]) + bytes(254)))
    (code,) = codes_in(image.resize((side * DOTS, side * DOTS), Image.Resampling.NEAREST))
    return code.decode()


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
