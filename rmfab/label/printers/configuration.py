"""The printer of a station: the table `[printer]` of station.toml.

[printer]
address = "zpl+tcp://10.0.0.9:9100"     # required; the forms are in `address.py`
dpi = 203                               # default: what the printer reports, else the usual one of its language
media = "40x30"                         # labels in mm, "62" for a continuous roll; default: what the printer reports
darkness = 15                           # ZPL 0 to 30, TSPL 0 to 15; default: as the printer is set
speed = 4                               # inches per second, 1 to 14; default: as the printer is set
encoding = "z64"                        # ZPL graphics: "run-length" (default) or "z64"
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique

from rmfab.errors import InputError
from rmfab.label.printers.address import PrinterAddress, PrinterLanguage
from rmfab.label.printers.media import Media
from rmfab.product.toml_reader import Table

_DPI = (100, 1200)
_DARKEST = {PrinterLanguage.ZPL: 30, PrinterLanguage.TSPL: 15}
_FASTEST = 14


@unique
class GraphicEncoding(StrEnum):
    """How ZPL carries a bitmap."""

    RUN_LENGTH = "run-length"
    Z64 = "z64"


@dataclass(frozen=True)
class PrinterConfig:
    """A printer at *address*. None is what the printer itself decides.

    *darkness* is in the units of its language, *speed* in inches per second. Raise InputError if the language of the
    printer does not have what is asked for.
    """

    address: PrinterAddress
    dpi: int | None = None
    media: Media | None = None
    darkness: int | None = None
    speed: int | None = None
    encoding: GraphicEncoding = GraphicEncoding.RUN_LENGTH

    def __post_init__(self) -> None:
        language = self.address.language
        if self.dpi is not None and not _DPI[0] <= self.dpi <= _DPI[1]:
            raise InputError(f"{self.dpi} is not from {_DPI[0]} to {_DPI[1]}", where="dpi", hint="usual: 203, 300, 600")
        if self.darkness is not None:
            self._check_set("darkness", self.darkness, 0, _DARKEST.get(language) if language else None)
        if self.speed is not None:
            self._check_set("speed", self.speed, 1, _FASTEST if language in _DARKEST else None)
        if self.encoding is not GraphicEncoding.RUN_LENGTH and language is not PrinterLanguage.ZPL:
            raise InputError("only ZPL printers have encodings", where="encoding", hint="leave it out")

    def _check_set(self, name: str, value: int, least: int, most: int | None) -> None:
        if most is None:
            hint = "leave it out; only ZPL and TSPL printers take it with a job"
            raise InputError(f"this printer does not take {name} with a job", where=name, hint=hint)
        if not least <= value <= most:
            raise InputError(f"{value} is not from {least} to {most}", where=name)


def read_printer(table: Table) -> PrinterConfig | None:
    """Return the configuration in *table*, None after a complaint about it."""
    address = table.parsed("address", PrinterAddress.parse, None)
    dpi = table.integer("dpi", 0, *_DPI) or None
    media = None if (text := table.text("media", "")) == "" else _media(table, text)
    darkness = table.integer("darkness", -1, 0, max(_DARKEST.values()))
    speed = table.integer("speed", 0, 1, _FASTEST) or None
    encoding = table.choice("encoding", GraphicEncoding, GraphicEncoding.RUN_LENGTH)
    table.finish()
    if address is None:
        return None
    try:
        return PrinterConfig(address, dpi, media, None if darkness < 0 else darkness, speed, encoding)
    except InputError as error:
        table.complain(error.where or "address", error.what, error.hint)
        return None


def _media(table: Table, text: str) -> Media | None:
    try:
        return Media.parse(text)
    except InputError as error:
        table.complain("media", error.what, error.hint)
        return None
